"""The integer flow against sums over all images and its own inverse."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models import idf
from tests.support.models.integer_flows import (
    BINARY,
    by_the_coder_s_way,
    combinations,
    every_image,
    model_of,
    sizes,
)
from tests.support.models.invertible import seeded
from tests.support.models.tiny import events_of


def test_the_mass_of_a_large_box_of_latents_is_one() -> None:
    model = model_of(**BINARY).double()
    log_prob, levels = by_the_coder_s_way(model, combinations(range(-6, 8), 4))
    assert abs(float(log_prob.exp().sum()) - 1) < 1e-4
    assert len(levels.flatten(1).unique(dim=0)) == 14**4


@pytest.mark.parametrize("num_parts", [2, 4])
@pytest.mark.parametrize("num_groups", [2, 4])
def test_all_images_have_less_mass_than_all_integers(num_groups: int, num_parts: int) -> None:
    """Exactly the mass that the box of latents has where its levels are those of an image."""
    config = {**BINARY, "num_groups": num_groups, "num_parts": num_parts, "flow_steps": 2}
    model = model_of(**config).double()
    x = every_image(model)
    mass = model.log_prob(x).exp()
    assert 0.01 < float(mass.sum()) < 1
    log_prob, levels = by_the_coder_s_way(model, combinations(range(-5, 7), 4))
    inside = ((levels >= 0) & (levels <= 1)).flatten(1).all(1)
    assert int(inside.sum()) == len(x)
    torch.testing.assert_close(log_prob[inside].exp().sum(), mass.sum())


def test_training_moves_the_mass_into_the_images() -> None:
    """Four images of sixteen: ln 4 at best, and the wide component costs 0.001 a pixel."""
    with seeded():
        config = {**BINARY, "channels": 16, "prior_channels": 16, "flow_steps": 0}
        model = idf.Model(idf.Config(**config))
    x = every_image(model).float()[[3, 5, 6, 15]]
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(120):
        optimiser.zero_grad()
        loss = model.loss(x).mean()
        loss.backward()
        optimiser.step()
    assert math.log(4) < float(loss.detach()) < math.log(4) + 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_groups": 2, "num_parts": 2, "flow_steps": 3},
        {"event_shape": (3, 8, 4), "num_levels": 256},
        {"event_shape": (1, 16, 16), "num_scales": 4, "num_levels": 17},
    ],
)
def test_integers_are_encoded_one_to_one(config: dict[str, Any], dtype: torch.dtype) -> None:
    """Levels far out of range as well: the map is one of all of Z^D."""
    model = model_of(**config).to(dtype)
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(-400, 700, (50, *model.event_shape), generator=generator).to(dtype)
    parts = model.latents(levels)
    z = torch.cat([part.z.flatten(1) for part in parts], 1)
    assert z.shape == (50, model.num_dims)
    assert torch.equal(z, z.round())
    assert float((z.sort(1).values != levels.flatten(1).sort(1).values).double().mean()) > 0.1
    assert torch.equal(model.decode(z), levels)
    assert torch.equal(model.decode(z + 0.3), levels)


def test_the_coder_meets_the_same_priors_in_both_directions() -> None:
    model = model_of(event_shape=(1, 8, 8), num_levels=17, num_scales=3, flow_steps=2).double()
    levels = model.levels(events_of(model, 6).double())
    given = model.start(6)
    parts = model.latents(levels)
    assert len(parts) == model.num_parts == 10
    for index, part in enumerate(parts):
        assert part.z.shape[1:] == model.part_shape(index)
        assert torch.equal(part.given, given)
        given = model.join(index, given, part.z)
    assert torch.equal(given, levels)


def test_log_prob_is_the_sum_over_the_parts() -> None:
    model = model_of().double()
    x = events_of(model, 5).double()
    log_prob, levels = by_the_coder_s_way(model, model.encode(x))
    assert torch.equal(levels, model.levels(x))
    torch.testing.assert_close(model.log_prob(x), log_prob)


def test_a_latent_changes_no_prior_before_it() -> None:
    """Else the coder could not decode: what is given is known by then."""
    model = model_of(event_shape=(1, 8, 8)).double()
    z = model.encode(events_of(model, 1).double())
    moved = z.repeat(len(z[0]), 1) + torch.eye(len(z[0]))
    for start, rows in zip(range(len(z[0])), moved, strict=True):
        first, second = _priors(model, z), _priors(model, rows[None])
        assert torch.equal(first[: start + 1], second[: start + 1])


def _priors(model: idf.Model, z: Tensor) -> Tensor:
    """The means of all latents of one row, in coding order. Shapes: (1, D) -> (D, K)."""
    given, found = model.start(1), []
    for index, vector in enumerate(z.split(sizes(model), 1)):
        found.append(model.prior(index, given).mean[0].flatten(0, 2))
        given = model.join(index, given, vector.view(-1, *model.part_shape(index)))
    return torch.cat(found)


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({"event_shape": (6,)}, "images"),
        ({"event_shape": (1, 6, 6)}, "even sides"),
        ({"num_levels": 0}, "2 and more"),
        ({"num_scales": 0}, "1 and more"),
        ({"num_components": 0}, "1 and more"),
        ({"num_groups": 3}, "2 and 4"),
        ({"num_parts": 1}, "2 and 4"),
        ({"flow_steps": -1}, "0 and more"),
        ({"shift": 0.0}, "positive"),
    ],
)
def test_a_bad_config_says_what_is_accepted(config: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        idf.Model(idf.Config(**config))
