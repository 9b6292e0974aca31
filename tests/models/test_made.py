"""MADE: probabilities of all events sum to one, samples come as often as they should."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import concat
from models.made import Config, MADELogLikelihoodParams, MADESampleParams, Model
from tests.support.models.invertible import wild

CONFIGS: dict[str, dict[str, Any]] = {
    "binary": {},
    "categorical": {"output": "categorical", "one_hot": True, "residual": True, "order": "random"},
    "grey": {
        "event_shape": (1, 2, 2),
        "num_levels": 5,
        "output": "logistic_mixture",
        "num_components": 2,
    },
    "counts": {
        "event_shape": (4,),
        "num_levels": 4,
        "output": "categorical",
        "one_hot": True,
        "order": "raster",
    },
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def made(**config: Any) -> Model:
    """Tiny, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Model(Config(**config))
    wild(model, 0.6).float()
    return model.eval()


def every_event(model: Model) -> Tensor:
    """All of them, in the order of counting. -> (num_levels^D, *event)."""
    levels = torch.arange(model.grid.num_levels)
    events = torch.cartesian_prod(*[levels] * model.num_dims)
    return model.grid.values(events).view(-1, *model.event_shape)


def index_of(model: Model, x: Tensor) -> Tensor:
    """Where events stand in `every_event`. Shapes: (B, *event) -> (B,)."""
    base = model.grid.num_levels
    places = base ** torch.arange(model.num_dims - 1, -1, -1)
    return (model.grid.levels(x).flatten(1) * places).sum(1)


def log_likelihood(model: Model, x: Tensor, num_orders: int) -> Tensor:
    """By the operation."""
    inputs = {"seed": row_seeds(0, len(x)), "x": x}
    params = MADELogLikelihoodParams(num_orders)
    return run(model.operations()["log_likelihood"], inputs, params)["log_prob"]


@every_config
def test_probabilities_of_all_events_sum_to_one(name: str) -> None:
    model = made(**CONFIGS[name])
    x = every_event(model)
    each = torch.stack([model.log_prob(x, mask) for mask in range(3)])
    assert each.exp().double().sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert float((each[0] - each[1]).abs().max()) > 0.1  # or the sums say little
    for num_orders in (1, 2, 3):
        found = log_likelihood(model, x, num_orders)
        assert float(found.exp().double().sum()) == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(found.exp(), each[:num_orders].exp().mean(0))


def test_all_binary_images_are_there() -> None:
    assert len(every_event(made())) == 2**9


def exact(model: Model, mask: int, temperature: float) -> Tensor:
    """Of every event, when each conditional is tempered. -> (num_levels^D,), sums to 1."""
    x = every_event(model)
    levels = model.grid.levels(x).flatten(1)
    params = model.net(model.features(levels, torch.float32), mask)
    tempered = (model.output.log_probs(params) / temperature).log_softmax(-1)
    return tempered.gather(-1, levels.unsqueeze(-1)).sum((1, 2)).exp().double()


@pytest.mark.parametrize(("mask", "temperature"), [(0, 1.0), (1, 1.0), (2, 0.5)])
@pytest.mark.parametrize("name", ["pixels", "counts"])
def test_samples_come_as_often_as_they_are_probable(
    name: str, mask: int, temperature: float
) -> None:
    forms: dict[str, dict[str, Any]] = {
        "pixels": {"event_shape": (1, 2, 2)},
        "counts": {"event_shape": (3,), "num_levels": 3, "output": "categorical", "one_hot": True},
    }
    model, num = made(**forms[name]), 12_000
    params = MADESampleParams(temperature, mask)
    x = run(model.operations()["sample"], {"seed": row_seeds(1, num)}, params)["x"]
    expected = exact(model, mask, temperature)
    assert float(expected.sum()) == pytest.approx(1)
    assert float((expected - exact(model, (mask + 1) % 3, temperature)).abs().max()) > 0.02
    found = index_of(model, x).bincount(minlength=len(expected)) / num
    error = (expected * (1 - expected) / num).sqrt()
    assert float(((found - expected).abs() / (error + 1e-4)).max()) < 4.5


def test_a_partial_event_holds_what_is_drawn_and_zeros() -> None:
    model = made(event_shape=(5,), num_levels=4, output="categorical")
    operation = model.operations()["sample"]
    parts = [
        operation.init({"seed": row_seeds(mask, 50)}, MADESampleParams(order=mask))
        for mask in range(3)
    ]
    rows = concat(parts)
    for step in range(1, 6):
        before, rows = rows["x"], operation.step(rows)
        for mask in range(3):
            part = slice(50 * mask, 50 * (mask + 1))
            drawn = model.net.order(mask)[:step]
            left = model.net.order(mask)[step:]
            assert not bool(rows["x"][part][:, left].any())
            assert torch.equal(rows["x"][part][:, drawn[:-1]], before[part][:, drawn[:-1]])
            assert bool(rows["x"][part][:, drawn[-1]].any())


def test_the_first_order_is_the_raster_unless_all_are_random() -> None:
    raster = list(range(9))
    orders = {
        order: [made(order=order).net.order(mask).tolist() for mask in range(3)]
        for order in ("raster", "mixed", "random")
    }
    assert orders["raster"] == [raster] * 3
    assert orders["mixed"][0] == raster
    assert raster not in orders["mixed"][1:]
    assert raster not in orders["random"]
    assert made(seed=1).net.order(1).tolist() != orders["mixed"][1]


def test_training_draws_every_order() -> None:
    model = made()
    x = every_event(model)[100:103]
    each = [-model.log_prob(x, mask) for mask in range(3)]
    torch.manual_seed(0)
    losses = [model.loss(x) for _ in range(60)]
    drawn = [[torch.equal(loss, one) for one in each].index(True) for loss in losses]
    assert {drawn.count(mask) > 8 for mask in range(3)} == {True}


def test_counts_and_indicators_are_what_the_network_sees() -> None:
    levels = torch.tensor([[0, 3, 1]])
    form = {"event_shape": (3,), "num_levels": 4, "output": "categorical"}
    scaled = made(**form).features(levels, torch.float32)
    torch.testing.assert_close(scaled, torch.tensor([[-1, 1, -1 / 3]]))
    seen = made(**form, one_hot=True).features(levels, torch.float32)
    assert seen.view(3, 4).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"num_levels": 0}, "num_levels"),
        ({"num_levels": 1}, "num_levels"),
        ({"num_levels": 4}, "bernoulli"),
        ({"num_masks": 0}, "num_masks"),
        ({"dropout": 1.0}, "dropout"),
        ({"order": "spiral"}, "raster, mixed, random"),
    ],
)
def test_configs_that_make_no_sense_are_refused(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        made(**config)


def test_orders_that_are_not_there_are_refused() -> None:
    operations = made().operations()
    for operation, params in itertools.product(
        operations.values(), [MADESampleParams(order=3), MADELogLikelihoodParams(4)]
    ):
        if isinstance(params, operation.Params):
            with pytest.raises(ValueError, match="accepted are"):
                operation.check({"x"}, params)
            operation.check({"x"}, operation.default_params)
