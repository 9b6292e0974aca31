"""Tiny PixelVAEs for the tests of that family."""

from typing import Any

from models.pixelvae import Model
from tests.support.models.tiny import random_model

CONFIGS: list[dict[str, Any]] = [
    {},
    {
        "num_layers": 3,
        "dilations": (1, 2),
        "coordinates": True,
        "encoder": "conv",
        "decoder": "mlp",
        "num_levels": 4,
        "output": "categorical",
    },
    {
        "num_layers": 1,
        "kernel_size": 5,
        "input_kernel_size": 5,
        "num_features": 1,
        "posterior": "planar",
        "prior": "coupling",
        "num_levels": 3,
        "output": "logistic_mixture",
    },
]
"""What between them reaches every branch."""


def pixelvae(**config: Any) -> Model:
    """A tiny model with random weights, in float64, whose latents and pixels matter."""
    model = random_model("pixelvae", **config)
    assert isinstance(model, Model)
    model.net.out.weight.mul_(5)
    for parameter in model.decoder.parameters():
        parameter.mul_(2)
    return model.double()
