"""Sampling from diffusion models as the service does it: labels, guidance, company, refusals."""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import concat
from models.core.diffusion.coefficients import SAMPLERS
from models.core.diffusion.sample import DiffusionSample, DiffusionSampleParams
from models.core.diffusion.schedule import Schedule
from tests.support.models.cases import assert_same, in_company, rows_at
from tests.support.models.diffusion_oracle import (
    MixtureOracle,
    gaussian_oracle,
    pair_oracle,
    sampler_of,
    started,
)

MIXED: list[dict[str, Any]] = [
    {"sampler": "dpm_solver_pp", "num_steps": 5},
    {"sampler": "ancestral", "num_steps": 9, "guidance_scale": 2.0},
    {"sampler": "ddim", "num_steps": 3, "eta": 1.0},
    {"sampler": "deterministic", "num_steps": 1},
    {"sampler": "ancestral_posterior", "num_steps": 4, "clip": True},
    {"sampler": "dpm_solver_pp", "num_steps": 12, "spacing": "even", "guidance_scale": 0.0},
    {"sampler": "ddim", "num_steps": 7, "spacing": "quadratic", "eta": 0.3},
    {"sampler": "dpm_solver_pp", "num_steps": 2},
    {"sampler": "ancestral_posterior", "num_steps": 20, "guidance_scale": 1.5},
]


class Watched:
    """The network of an oracle, which remembers what it was asked."""

    def __init__(self, model: MixtureOracle) -> None:
        self.model = model
        self.times: list[list[float]] = []
        model.use("eps", self)

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        self.times.append(tensors[1].tolist())
        return (self.model.eps(*tensors),)


class Open(DiffusionSample):
    """Gives z itself, which clipping to pixels would hide."""

    def finish(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"z": rows["z"]}


@torch.no_grad()
def test_mixed_samplers_share_their_network_calls_and_answer_as_if_alone() -> None:
    model = pair_oracle(Schedule(40))
    requests = []
    for i, params in enumerate(MIXED):
        num = 1 + i % 3
        inputs = {"seed": row_seeds(i, num), "label": (torch.arange(num) + i) % 3 - 1}
        requests.append((inputs, DiffusionSampleParams(**{"clip": False, **params})))
    operation = Open(model, DiffusionSampleParams(num_steps=5))
    alone = [run(operation, *request) for request in requests]
    watched = Watched(model)
    for found, expected in zip(in_company(operation, requests), alone, strict=True):
        assert_same(found, expected, atol=1e-5)
    last = max(i + params.num_steps for i, (_, params) in enumerate(requests))
    assert len(watched.times) == last, "one call a tick"
    assert max(len(set(t)) for t in watched.times) >= 4, "rows were at different times"


@pytest.mark.parametrize("params", MIXED, ids=str)
def test_a_sample_does_not_depend_on_how_many_are_asked_for(params: dict[str, Any]) -> None:
    operation = sampler_of(pair_oracle(Schedule(40)), **params)
    many = run(operation, {"seed": row_seeds(3, 6)}, operation.default_params)
    few = run(operation, {"seed": row_seeds(3, 2)}, operation.default_params)
    assert_same(few, rows_at(many, slice(2)), atol=1e-6)
    assert float((many["x"][0] - many["x"][1]).abs().max()) > 1e-4


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [("auto", [40, 30, 20, 10]), ("even", [40, 30, 20, 10]), ("quadratic", [40, 23, 10, 3])],
)
@torch.no_grad()
def test_the_network_is_asked_once_at_every_time(spacing: str, expected: list[float]) -> None:
    model = gaussian_oracle(schedule=Schedule(40))
    watched = Watched(model)
    operation = sampler_of(model, num_steps=4, spacing=spacing)
    run(operation, {"seed": row_seeds(0, 1)}, operation.default_params)
    assert watched.times == [[t] for t in expected]
    watched.times.clear()
    auto = sampler_of(model, sampler="dpm_solver_pp", num_steps=4)
    run(auto, {"seed": row_seeds(0, 1)}, auto.default_params)
    assert watched.times == [[40], [23], [10], [3]]


@torch.no_grad()
def test_guidance_goes_on_from_none_through_the_label() -> None:
    model = pair_oracle(Schedule(40))
    label, scale = torch.tensor([0, 1, 1, 0, -1]), torch.tensor([0.0, 1.0, 2.5, 4.0, 1.0])
    parts = []
    for row, guidance_scale in enumerate(scale.tolist()):
        operation = sampler_of(model, num_steps=2, guidance_scale=guidance_scale)
        seed = row_seeds(0, 5)[row : row + 1]
        inputs = {"seed": seed, "label": label[row : row + 1]}
        parts.append(operation.init(inputs, operation.default_params))
    rows = operation.step(concat(parts))
    # Halfway, where z tells something of the component.
    z, t = rows["z"], torch.full((5,), 20.0)
    free, given = (model.eps(z, t, asked) for asked in (torch.full((5,), -1), label))
    eps = free + scale.view(-1, 1, 1, 1) * (given - free)
    alpha_bar, beta_bar = (
        share(t[:1]).item() for share in (model.schedule.alpha_bar, model.schedule.beta_bar)
    )
    expected = (z - beta_bar * eps) / alpha_bar
    assert float((given - free)[2:4].abs().max()) > 0.01
    torch.testing.assert_close(operation.step(rows)["x_0"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "deterministic"])
@torch.no_grad()
def test_a_label_names_the_component_and_none_gives_both(sampler: Any) -> None:
    model = pair_oracle(Schedule(200))
    operation = sampler_of(model, sampler=sampler, num_steps=60, clip=True)
    seed = row_seeds(0, 300)
    label = torch.tensor([0, 1, -1]).repeat(100)
    x = run(operation, {"seed": seed, "label": label}, operation.default_params)["x"]
    z = model.from_event(x)
    bright = z.flatten(1).mean(1) > -0.05
    assert torch.equal(bright[label >= 0], label[label >= 0] == 1)
    assert stats.binomtest(int(bright[label < 0].sum()), 100, 0.75).pvalue > 1e-3
    for component, mean, std in ((0, -0.5, 0.1), (1, 0.4, 0.2)):
        own = z[label == component]
        assert float(own.mean()) == pytest.approx(mean, abs=0.02 + std / 5)
        assert float(own.std()) == pytest.approx(std, rel=0.4)


@torch.no_grad()
def test_noise_is_new_at_every_step_and_not_that_of_the_start() -> None:
    model = gaussian_oracle(event_shape=(1, 16, 16), schedule=Schedule(10))
    operation = sampler_of(model, sampler="ancestral", num_steps=10)
    rows = started(operation, 2)
    drawn = [rows["z"]]
    for _ in range(9):
        c = operation.coefficients(rows)
        after = operation.step(rows)
        c_z, c_x, c_noise = (n.float().view(-1, 1, 1, 1) for n in (c.c_z, c.c_x, c.c_noise))
        drawn.append((after["z"] - c_z * rows["z"] - c_x * after["x_0"]) / c_noise)
        rows = after
    noise = torch.cat(drawn).flatten(1)
    assert len(noise) == 20
    assert float((noise.corrcoef() - torch.eye(20)).abs().max()) < 0.35
    assert float(noise.std()) == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_clipping_is_of_the_clean_image_and_a_row_of_its_own() -> None:
    model = gaussian_oracle(0.9, 0.3, schedule=Schedule(20))
    both = [sampler_of(model, num_steps=4, clip=clip) for clip in (True, False)]
    rows = concat([started(operation, 8) for operation in both])
    for _ in range(4):
        rows = both[0].step(rows)
        assert float(rows["x_0"][:8].abs().max()) <= 1
    assert float(rows["x_0"][:8].max()) == 1
    assert float(rows["x_0"][8:].max()) > 1
    x = both[1].finish(rows)["x"]
    assert 0 <= float(x.min()) <= float(x.max()) == 1


@pytest.mark.parametrize("params", MIXED, ids=str)
@torch.no_grad()
def test_what_is_seen_is_the_expected_image_and_in_the_end_the_result(
    params: dict[str, Any],
) -> None:
    model = pair_oracle(Schedule(40))
    operation = sampler_of(model, **params)
    rows = started(operation, 3, label=torch.tensor([0, 1, -1]))
    assert torch.equal(operation.preview(rows), torch.full((3, 1, 2, 2), 0.5))
    for _ in range(operation.default_params.num_steps):
        rows = operation.step(rows)
        assert torch.equal(operation.preview(rows), model.to_event(rows["x_0"]))
    torch.testing.assert_close(operation.finish(rows)["x"], operation.preview(rows))


@pytest.mark.parametrize("params", MIXED, ids=str)
@torch.no_grad()
def test_single_precision_is_enough(params: dict[str, Any]) -> None:
    found = []
    for model in (pair_oracle(Schedule(40)), pair_oracle(Schedule(40)).double()):
        operation = sampler_of(model, **params)
        found.append(run(operation, {"seed": row_seeds(0, 4)}, operation.default_params)["x"])
    assert {x.dtype for x in found} == {torch.float32}
    torch.testing.assert_close(*found, atol=1e-4, rtol=0)


def test_what_cannot_be_is_refused() -> None:
    operation = sampler_of(pair_oracle(Schedule(40)), num_steps=9, guidance_scale=2.0)
    seed = row_seeds(0, 2)
    free = {"seed": seed, "label": torch.tensor([-1, -1])}
    one = {"seed": seed, "label": torch.tensor([-1, 1])}
    for num_steps in (0, 41):
        with pytest.raises(ValueError, match=f"num_steps {num_steps}: accepted are 1 to 40"):
            operation.check(one, DiffusionSampleParams(num_steps=num_steps))
    for inputs in (free, {"seed": seed}, {"seed"}):
        with pytest.raises(ValueError, match="guidance_scale: accepted with a label only"):
            operation.check(inputs, DiffusionSampleParams(num_steps=9, guidance_scale=3.0))
    operation.check({"seed", "label"}, DiffusionSampleParams(num_steps=9, guidance_scale=3.0))
    for guidance_scale in (1.0, 2.0):  # none, and the model's own
        operation.check(free, DiffusionSampleParams(num_steps=9, guidance_scale=guidance_scale))
    operation.check(one, DiffusionSampleParams(num_steps=40, guidance_scale=3.0))

    plain = sampler_of(gaussian_oracle(schedule=Schedule(40)), num_steps=9)
    assert not plain.takes_label
    with pytest.raises(ValueError, match="takes no label"):
        plain.check({"seed": seed}, DiffusionSampleParams(num_steps=9, guidance_scale=3.0))


@pytest.mark.parametrize(
    ("params", "accepted"),
    [
        ({"sampler": "euler"}, "sampler 'euler': accepted are ancestral, "),
        ({"num_steps": 41}, "accepted are 1 to 40"),
        ({"eta": 1.5}, "eta 1.5: accepted are 0 to 1"),
        ({"guidance_scale": -1.0}, "guidance_scale -1.0: accepted are 0 and more"),
    ],
)
def test_a_model_cannot_be_made_to_default_to_nonsense(params: Any, accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        sampler_of(pair_oracle(Schedule(40)), **{"num_steps": 4, **params})
