"""The screen of MNIST."""

from dataclasses import replace

from training.recipes import screen_fashion_mnist

RECIPE = replace(
    screen_fashion_mnist.RECIPE,
    parts={
        "position": "pixelcnn_mnist",
        "local": "pixelcnn_mnist-local",
        "denoiser": "ddpm_mnist",
        "classifier": "jem_mnist-classifier",
    },
    screens=(),
)
