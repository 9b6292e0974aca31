"""PixelCNN on MNIST, 8 bits, with a small window that knows its place."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist_placed

RECIPE = replace(
    pixelcnn_fashion_mnist_placed.RECIPE,
    dataset="mnist",
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
