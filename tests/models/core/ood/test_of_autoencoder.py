"""The norms on an autoencoder's path, against a network whose ends are known."""

from typing import Any

import pytest
import torch

from models.core.contract.noise import row_seeds
from models.core.contract.operation import NoParams, run
from models.core.contract.rows import Rows
from models.core.latent.autoencoder import Autoencoder
from models.core.ood.of_autoencoder import LATENT_SCORES
from tests.support.models.tiny import events_of, random_model


def model_of(**config: Any) -> Autoencoder:
    """A tiny VAE of binary pixels."""
    model = random_model("vae", **config)
    assert isinstance(model, Autoencoder)
    return model


def path(model: Autoencoder, x: torch.Tensor) -> torch.Tensor:
    """The column."""
    return run(model.operations()["likelihood_path"], {"x": x}, NoParams())["path_norms"]


@pytest.mark.parametrize(
    "config",
    [{}, {"posterior": "planar", "latent_dims": 3}, {"event_shape": (5,), "num_levels": 4}],
    ids=["pixels", "flow", "counts"],
)
def test_norms_are_those_of_the_served_ends(config: dict[str, Any]) -> None:
    if "num_levels" in config:
        config = {**config, "output": "categorical"}
    model = model_of(**config)
    x = events_of(model, 4)
    operations = model.operations()
    inputs: Rows = {"x": x, "seed": row_seeds(0, 4)}
    again = run(operations["reconstruct"], inputs, operations["reconstruct"].default_params)["x"]
    mean, log_std = model.posterior.normal(model.statistics(x))
    expected = torch.stack(
        [
            (x - again).flatten(1).square().sum(1).sqrt(),
            mean.square().sum(1).sqrt(),
            (2 * log_std).exp().sum(1).sqrt(),
        ],
        1,
    )
    torch.testing.assert_close(path(model, x).exp(), expected, atol=1e-4, rtol=1e-4)


def test_an_event_off_the_grid_is_the_nearest_on_it() -> None:
    model = model_of()
    x = events_of(model, 3)
    torch.testing.assert_close(path(model, (0.9 * x + 0.02)), path(model, x))


def test_an_event_that_comes_back_changed_is_stranger() -> None:
    # Three norms that vary by a tenth in-distribution: one that doubles is strange, either way.
    score = LATENT_SCORES["likelihood_path"]
    generator = torch.Generator().manual_seed(0)
    own = 1 + 0.1 * torch.randn(300, 3, generator=generator)
    reference = score.fitted({"path_norms": own})
    for norm in range(3):
        for change in (-0.7, 0.7):
            strange = own[:50].clone()
            strange[:, norm] += change
            found = score.compute({"path_norms": strange}, reference)
            assert float(found.min()) > float(
                score.compute({"path_norms": own}, reference).median()
            )
            assert float(found.median()) > 5
