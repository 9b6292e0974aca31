"""MAF and IAF: Jacobians, integrals, the two directions and the operations that invert."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import event_seeds, normal
from models.core.contract.operation import run
from models.core.flow.inversion import InversionParams
from models.core.flow.inversion_programs import LogLikelihoodByInversionParams
from models.core.flow.programs import FlowLogLikelihood, FlowLogLikelihoodParams
from models.core.transforms.autoregressive import Affine, Inverse, Mixture
from models.maf import Config, Model
from tests.support.models.cases import assert_same, in_company
from tests.support.models.invertible import assert_invertible, draws, wild

NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"hidden": (20, 12), "activation": "relu"},
    "residual": {"hidden": (12, 12), "residual": True, "direct": True},
    "random": {"order": "random", "num_blocks": 3},
    "mixture": {"num_components": 3},
}
VECTOR: dict[str, Any] = {"event_shape": (5,), "num_levels": 0}
KINDS: dict[str, dict[str, Any]] = {
    "maf": {},
    "iaf": {"direction": "iaf"},
    "mixture": {"num_components": 3},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
methods = pytest.mark.parametrize("method", ["sequential", "fixed_point"])


def maf(spread: float = 0.3, **config: Any) -> Model:
    """With random weights, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Model(Config(**config))
    wild(model, spread)
    return model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_invertible_and_triangular(name: str) -> None:
    x = draws(3, (5,))
    for block in maf(**VECTOR, **NETWORKS[name]).blocks:
        bisected = isinstance(block.conditional, Mixture)
        assert_invertible(block, x, bisected=bisected)
        if not bisected:
            assert_invertible(Inverse(block), x)
        order = block.net.order()
        jacobian = torch.func.jacrev(block)(x[:1])[0].view(5, 5)[order][:, order]
        before = torch.ones(5, 5).tril() > 0
        assert bool((jacobian[before] != 0).all())
        assert bool((jacobian[~before] == 0).all())


@every_kind
@pytest.mark.parametrize("event", ["vector", "pixels", "centred"])
def test_whole_flows_are_invertible(event: str, kind: str) -> None:
    forms = {"vector": VECTOR, "pixels": {}, "centred": {"logit_margin": 0.0}}
    model = maf(**KINDS[kind], **forms[event])
    x = draws(3, model.event_shape)
    x = x if event == "vector" else x.sigmoid()
    assert_invertible(model.flow, x, 1e-6, bisected=kind == "mixture")


def test_only_the_block_next_to_the_data_is_a_mixture() -> None:
    blocks = maf(num_components=3, num_blocks=3).blocks
    assert [isinstance(block.conditional, Mixture) for block in blocks] == [True, False, False]
    assert [block.net.num_params for block in blocks] == [9, 2, 2]


def test_a_mixture_is_that_of_its_logistics() -> None:
    """The density of x whose z is logistic with unit variance, by the formula of a logistic's."""
    mixture = Mixture(2, 5.0)
    weights, means, scales = torch.tensor([[0.2, 0.8], [-4, 3], [0.3, 1.1]], dtype=torch.float64)
    raw = torch.stack([weights.log(), means - mixture.starts, 5 * (scales.log() / 5).atanh()])
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    z, slope = mixture.forward(x, raw.flatten().expand(len(x), -1))
    scale = math.sqrt(3) / math.pi
    base = (z / scale).sigmoid() * (-z / scale).sigmoid() / scale
    a = (x[:, None] - means) / scales
    expected = (weights * a.sigmoid() * (-a).sigmoid() / scales).sum(1)
    torch.testing.assert_close(base * slope.exp(), expected, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("order", ["reversed", "random"])
def test_blocks_have_other_orders(order: str) -> None:
    orders = [block.net.order().tolist() for block in maf(order=order, num_blocks=3).blocks]
    assert orders[0] == list(range(6))
    assert orders[1] != orders[0]
    assert orders[2] == orders[0] if order == "reversed" else orders[2] not in orders[:2]
    if order == "reversed":
        assert orders[1] == orders[0][::-1]


@every_kind
def test_the_density_of_a_pair_integrates_to_one(kind: str) -> None:
    model = maf(0.2, event_shape=(2,), num_levels=0, hidden=(6,), **KINDS[kind])
    ticks = torch.linspace(-20, 20, 401, dtype=torch.float64)
    density = model.log_prob(torch.cartesian_prod(ticks, ticks)).exp()
    assert float(density.sum()) * (40 / 400) ** 2 == pytest.approx(1, abs=1e-3)


def test_iaf_is_maf_the_other_way_round() -> None:
    forward, backward = (maf(**VECTOR, direction=way) for way in ("maf", "iaf"))
    for ours, theirs in zip(backward.blocks, forward.blocks, strict=True):
        ours.load_state_dict(theirs.state_dict())
    for name, parameter in backward.named_parameters():
        if name.startswith("flow.parts.1.parts.1."):  # the actnorm that only iaf has
            parameter.zero_()
    x = draws(4, (5,))
    z, log_abs_det = forward.flow(x)
    back, inverse = backward.flow.inverse(x)
    torch.testing.assert_close(back, z, atol=1e-12, rtol=0)
    torch.testing.assert_close(inverse, log_abs_det, atol=1e-12, rtol=0)
    torch.testing.assert_close(backward.encode(z, z), x, atol=1e-9, rtol=0)


def test_gradients_pass_through_an_inversion() -> None:
    block = maf(**VECTOR, hidden=(6,)).blocks[1]
    names = ["net.output.weight", "net.layers.0.weight", "norm.log_scale"]
    weights = tuple(block.get_parameter(name).clone().requires_grad_() for name in names)

    def inverse(z: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.func.functional_call(
            Inverse(block), {f"inner.{n}": v for n, v in zip(names, values, strict=True)}, z
        )
        return found[0], found[1]

    assert torch.autograd.gradcheck(inverse, (draws(2, (5,)).requires_grad_(), *weights))


def test_scales_keep_their_bound() -> None:
    params = torch.tensor([[0.0, 1e6], [0.0, -1e6], [2.0, 0.1]], dtype=torch.float64)
    _, slope = Affine(3.0).inverse(torch.ones(3, dtype=torch.float64), params)
    assert slope.tolist() == pytest.approx([3, -3, 0.1], abs=1e-4)


def test_a_first_batch_makes_every_block_standard() -> None:
    model = maf(**VECTOR)
    x = 3 * draws(500, (5,)) + 7
    model.initialise(x)
    y, _ = model.flow.parts[0](x)
    for block in model.blocks:
        h, _ = block.norm(y)
        assert float(h.mean(0).abs().max()) < 1e-6
        assert float((h.std(0) - 1).abs().max()) < 1e-6
        y, _ = block(y)


@pytest.mark.parametrize("num_samples", [1, 4])
@methods
def test_a_bound_by_inversion_is_the_bound(method: Any, num_samples: int) -> None:
    """Noises are the operation's, the densities one autograd pass each."""
    model = maf(direction="iaf").float()
    x = model.to_event(draws(5, model.event_shape).float().sigmoid())
    seed = torch.full((5,), 3)
    params = LogLikelihoodByInversionParams(num_samples=num_samples, method=method)
    found = run(model.operations()["log_likelihood"], {"seed": seed, "x": x}, params)
    seeds = event_seeds(seed, x)
    each = [
        model.log_prob(x, normal(seeds, torch.full((5,), k), model.event_shape))
        for k in range(num_samples)
    ]
    expected = torch.stack(each).logsumexp(0) - math.log(num_samples)
    torch.testing.assert_close(found["log_prob"], expected, atol=1e-4, rtol=0)
    assert bool(found["standard_error"].isnan().all()) == (num_samples == 1)
    model.use("log_prob", lambda x, eps: (model.log_prob(x, eps),))
    weighted = run(
        FlowLogLikelihood(model), {"seed": seed, "x": x}, FlowLogLikelihoodParams(num_samples)
    )
    torch.testing.assert_close(found, weighted, atol=1e-4, rtol=0, equal_nan=True)


def test_a_request_takes_its_own_number_of_noises_in_company() -> None:
    model = maf(direction="iaf").float()
    operation = model.operations()["log_likelihood"]
    x = model.to_event(draws(2, model.event_shape).float().sigmoid())
    inputs = {"seed": torch.full((2,), 3), "x": x}
    # Loose enough for one noise to be through in half of the passes it may take.
    params = [
        LogLikelihoodByInversionParams(num_samples=num, tolerance=0.01) for num in (1, 4, 2, 1)
    ]
    together = in_company(operation, [(inputs, one) for one in params])
    for found, one in zip(together, params, strict=True):
        assert_same(found, run(operation, inputs, one))


def test_only_the_quick_direction_is_a_graph() -> None:
    assert set(maf().graphs()) == {"log_prob"}
    assert set(maf(direction="iaf").graphs()) == {"decode"}
    assert isinstance(maf().operations()["decode"].default_params, InversionParams)
    assert not maf(direction="iaf").operations()["decode"].stops_early


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"num_blocks": 0}, "num_blocks"),
        ({"scale_bound": 0.0}, "scale_bound"),
        ({"num_components": 0}, "num_components"),
        ({"num_components": 2, "direction": "iaf"}, "1 with iaf"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": 0.1, "direction": "iaf"}, "dropout"),
        ({"direction": "naf"}, "maf, iaf"),
        ({"order": "spiral"}, "reversed, random"),
    ],
)
def test_configs_that_make_no_sense_are_refused(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        maf(**config)
