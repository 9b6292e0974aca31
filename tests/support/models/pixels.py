"""Tiny PixelCNNs, and all images of a small grid, for the tests of that family."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from models.pixelcnn import Model
from tests.support.models.tiny import random_model

PLAIN: dict[str, Any] = {"num_classes": 0, "coordinates": False}
BINARY: dict[str, Any] = {"num_levels": 2, "output": "bernoulli"}


def pixelcnn(**config: Any) -> Model:
    """A tiny model with random weights, none of whose pixels is a fair coin, in float64."""
    model = random_model("pixelcnn", **config)
    assert isinstance(model, Model)
    model.net.out.weight.mul_(5)
    return model.double()


def every_image(shape: tuple[int, int], num_levels: int, num_colours: int = 1) -> Tensor:
    """All images on a grid of levels. -> (num_levels ** (K H W), K, H, W)."""
    size = num_colours * shape[0] * shape[1]
    levels = torch.tensor(list(product(range(num_levels), repeat=size)))
    return (levels.double() / (num_levels - 1)).view(-1, num_colours, *shape)
