"""The integer flow against sums over all images, exact frequencies and its own inverse."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models import idf
from models.core.integer_net import Table
from models.core.likelihood import Likelihood
from models.core.noise import row_seeds
from models.core.operation import concat, run
from tests.models.cases import rows_at
from tests.models.invertible import seeded
from tests.models.tiny import events_of, random_model

BINARY: dict[str, Any] = {"event_shape": (1, 2, 2), "num_scales": 1, "num_levels": 2}


def model_of(*, seed: int = 0, **config: Any) -> idf.Model:
    found = random_model("idf", seed=seed, **config)
    assert isinstance(found, idf.Model)
    (table,) = [module for module in found.modules() if isinstance(module, Table)]
    table.place.mul_(0.05)
    return found


def combinations(values: range, num_dims: int) -> Tensor:
    """-> float64 (len(values)^D, D)."""
    return torch.tensor(list(itertools.product(values, repeat=num_dims))).double()


def every_image(model: idf.Model) -> Tensor:
    """All images on the model's grid, in float64. -> (num_levels^D, *event)."""
    assert model.grid is not None
    levels = combinations(range(model.grid.num_levels), model.num_dims)
    return model.grid.values(levels).double().view(-1, *model.event_shape)


def sizes(model: idf.Model) -> list[int]:
    return [torch.Size(model.part_shape(index)).numel() for index in range(model.num_parts)]


def by_the_coder_s_way(model: idf.Model, z: Tensor) -> tuple[Tensor, Tensor]:
    """log P and levels by `start`, `prior` and `join`. Shapes: (B, D) -> (B,), (B, *event)."""
    given, total = model.start(len(z)), z.new_zeros(len(z))
    for index, vector in enumerate(z.split(sizes(model), 1)):
        part = vector.view(-1, *model.part_shape(index))
        total = total + model.prior(index, given).log_prob(part).flatten(1).sum(1)
        given = model.join(index, given, part)
    return total, given


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


def test_samples_have_the_model_s_frequencies() -> None:
    """Chi-square over all 16 images and what is cut off from outside, at a fixed seed."""
    model = model_of(**BINARY)
    operation = model.operations()["sample"]
    num = 20_000
    x = run(operation, {"seed": row_seeds(5, num)}, operation.Params())["x"]
    log_prob, levels = by_the_coder_s_way(model.precise(), combinations(range(-6, 8), 4))
    place = 2 ** torch.arange(4)
    expected = torch.zeros(16, dtype=torch.float64)
    expected.index_add_(0, (levels.clamp(0, 1).flatten(1).long() * place).sum(1), log_prob.exp())
    found = (x.flatten(1).long() * place).sum(1).bincount(minlength=16)
    assert abs(float(expected.sum()) - 1) < 1e-4
    chi_square = ((found - num * expected).square() / (num * expected)).sum()
    assert float(chi_square) < 37.7  # 15 degrees of freedom: one seed in a thousand is above


def test_a_temperature_of_zero_leaves_one_image() -> None:
    operation = model_of().operations()["sample"]
    inputs = {"seed": row_seeds(0, 8)}
    cold = run(operation, inputs, operation.Params(temperature=0.0))["x"]
    warm = run(operation, inputs, operation.Params())["x"]
    assert len(cold.unique(dim=0)) == 1
    assert len(warm.unique(dim=0)) == 8


def test_the_default_temperature_is_the_config_s() -> None:
    operation = model_of(temperature=0.7).operations()["sample"]
    assert operation.default_params.temperature == 0.7


def test_the_operations_compute_in_float64() -> None:
    model = model_of(event_shape=(1, 8, 8), num_levels=256)
    x = events_of(model, 3)
    operations = model.operations()
    inputs, precise = {"x": x, "seed": row_seeds(0, 3)}, model.precise()
    log_prob = run(operations["log_likelihood"], inputs, None)["log_prob"]
    assert torch.equal(log_prob, precise.log_prob(x.double()).float())
    z = run(operations["encode"], inputs, None)["z"]
    assert torch.equal(z.double(), precise.encode(x.double()))
    assert next(model.parameters()).dtype == torch.float32


def test_what_is_encoded_alone_is_decoded_in_company() -> None:
    model = model_of(event_shape=(1, 16, 16), num_levels=256, num_scales=3)
    inputs = {"x": events_of(model, 30)}
    encode, decode = (model.operations()[name] for name in ("encode", "decode"))
    alone = concat([run(encode, rows_at(inputs, slice(i, i + 1)), None) for i in range(30)])
    assert torch.equal(run(decode, alone, None)["x"], inputs["x"])
    assert torch.equal(alone["z"], run(encode, inputs, None)["z"])


def test_latents_of_no_image_are_cut_off() -> None:
    model = model_of()
    operation = model.operations()["decode"]
    z = torch.tensor([1000.0, -1000.0])[:, None].expand(2, 16)
    x = run(operation, {"z": z}, None)["x"]
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_latents_that_are_no_numbers_stay_none() -> None:
    operation = model_of().operations()["decode"]
    x = run(operation, {"z": torch.full((1, 16), torch.nan)}, None)["x"]
    assert x.dtype == torch.float32
    assert bool(x.isnan().all())


def test_the_likelihood_is_exact_with_nothing_to_estimate() -> None:
    model = model_of()
    operation = model.operations()["log_likelihood"]
    assert model.likelihood is operation.kind(operation.default_params) is Likelihood.EXACT
    assert run(operation, {"x": events_of(model, 2)}, None).keys() == {"log_prob"}


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
