"""What pixels say of their neighbours on MNIST: the background of a likelihood ratio."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist_local, pixelcnn_mnist

RECIPE = replace(
    pixelcnn_mnist.RECIPE,
    config=pixelcnn_fashion_mnist_local.RECIPE.config,
    objective_settings=pixelcnn_fashion_mnist_local.RECIPE.objective_settings,
)
