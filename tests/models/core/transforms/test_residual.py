"""Residual blocks against linear algebra, and estimators against what they estimate."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.core.nn.lipschitz import SpectralConv, SpectralLinear
from models.core.nn.lipschitz_net import LipschitzNet
from models.core.transforms import residual
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.multiscale import Squeeze
from models.core.transforms.residual import ResidualBlock, Roulette, exact, remainder, truncated
from models.core.transforms.transform import Chain
from tests.support.models.invertible import assert_invertible, draws, log_abs_det, seeded, wild

D = 4


def network(cap: float = 0.8, **settings: Any) -> LipschitzNet:
    """Of vectors of 4, in float64, each of its layers at its cap."""
    wanted: dict[str, Any] = {"width": 5, "depth": 1, "dense": True, "activation_name": "clipswish"}
    wanted |= {"wide": SpectralLinear, "narrow": SpectralLinear}
    with seeded():
        net = LipschitzNet(D, cap=cap, **{**wanted, **settings})
    wild(net, 2.0)
    return net.eval()


def block(cap: float = 0.8, **settings: Any) -> ResidualBlock:
    """Behind an actnorm that is not the identity."""
    norm = wild(ActNorm((D,)))
    assert isinstance(norm, ActNorm)
    return ResidualBlock((D,), (D,), norm, network(cap, **settings))


def image_block() -> ResidualBlock:
    """Of 2x4x4 images that are squeezed first."""
    with seeded():
        net = LipschitzNet(
            8,
            width=3,
            depth=2,
            dense=True,
            activation_name="clipswish",
            cap=0.9,
            wide=lambda i, o, cap: SpectralConv(i, o, cap, sides=(2, 2), kernel=3),
            narrow=lambda i, o, cap: SpectralConv(i, o, cap, sides=(2, 2), kernel=1),
        )
    found = ResidualBlock((2, 4, 4), (8, 2, 2), Chain([Squeeze(), ActNorm((8, 2, 2))]), net)
    wild(found, 1.0)
    found.eval()
    return found


def every_sign() -> Tensor:
    """All 16 probes: a mean over them is the trace itself. -> (16, 1, 4)."""
    signs = itertools.product((-1.0, 1.0), repeat=D)
    return torch.tensor(list(signs), dtype=torch.float64)[:, None]


def jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """Of one row. Shapes: (1, D) -> (D, D)."""
    found: Tensor = torch.autograd.functional.jacobian(lambda v: net(v[None])[0], x[0])
    return found


@pytest.mark.parametrize("is_dense", [True, False])
@pytest.mark.parametrize("name", ["lipswish", "clipswish"])
def test_a_block_and_its_inverse_agree_with_autograd(is_dense: bool, name: str) -> None:
    found = block(dense=is_dense, activation_name=name)
    # The search has an end that gradients do not see, so that only this direction has them.
    x = draws(5, (D,))
    assert_invertible(found, x, bisected=True)
    assert float(found(x)[1].abs().min()) > 0.01


def test_a_block_of_images_agrees_with_autograd() -> None:
    assert_invertible(image_block(), draws(3, (32,)), bisected=True)


def test_exact_is_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = network(), draws(7, (D,))
    g, whole = exact(net, x)
    monkeypatch.setattr("models.core.transforms.residual._ROWS", 2 * D)
    again, parts = exact(net, x)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(again, g)
    torch.testing.assert_close(g, net(x))
    torch.testing.assert_close(whole, log_abs_det(lambda v: v + net(v), x))


def test_the_gradient_of_exact_is_that_of_the_determinant() -> None:
    net, x = network().requires_grad_(True), draws(1, (D,))
    weight = net.get_parameter("last.weight")
    (found,) = torch.autograd.grad(exact(net, x)[1].sum(), weight)
    step = 1e-6 * draws(D, (weight.shape[1],))
    with torch.no_grad():
        weight.add_(step)
        above = float(exact(net, x)[1])
        weight.sub_(2 * step)
        below = float(exact(net, x)[1])
    assert float((found * step).sum()) == pytest.approx((above - below) / 2, rel=1e-5)


def test_terms_are_the_traces_of_powers() -> None:
    net, x = network(), draws(1, (D,))
    one = jacobian(net, x)
    for num_terms in (1, 2, 5):
        powers = [torch.linalg.matrix_power(one, k).trace() for k in range(1, num_terms + 1)]
        expected = sum((-1) ** (k + 1) / k * float(t) for k, t in enumerate(powers, 1))
        g, values = truncated(net, x.expand(16, -1), every_sign().expand(-1, 16, -1), num_terms)
        torch.testing.assert_close(g, net(x).expand(16, -1))
        assert float(values.mean()) == pytest.approx(expected, abs=1e-12)


def test_what_is_cut_off_is_no_more_than_the_remainder_and_may_be_all_of_it() -> None:
    net, x = network(0.9), draws(1, (D,))
    log_det = float(exact(net, x)[1])
    for num_terms in range(1, 30):
        _, values = truncated(net, x, every_sign(), num_terms)
        most = remainder(0.9, D, num_terms)
        assert abs(float(values.mean()) - log_det) <= most
        # g = -0.9 x has the largest remainder that there can be.
        terms = sum(-(0.9**k) / k for k in range(1, num_terms + 1))
        assert D * abs(math.log(0.1) - terms) == pytest.approx(most, rel=1e-9)
        assert most <= D * 0.9 ** (num_terms + 1) / (num_terms + 1) / (1 - 0.9)


def assert_unbiased(found: Tensor, expected: Tensor, enough: float) -> None:
    """Every mean within 4.5 standard errors, which are below `enough`. Shapes: (N, K), (K,)."""
    error = found.std(0) / math.sqrt(len(found))
    assert float(error.max()) < enough
    assert float(((found.mean(0) - expected) / error).abs().max()) < 4.5


@pytest.mark.parametrize("roulette", [Roulette(1, 0.5), Roulette(2, 0.7)])
def test_the_roulette_and_its_gradient_are_unbiased(roulette: Roulette) -> None:
    """Means over thousands of numbers of terms, each with 16 probes."""
    net = network(0.7, activation_name="lipswish").requires_grad_(True)
    x = draws(1, (D,)).requires_grad_(True)
    about = [x, *(p for name, p in net.named_parameters() if not name.endswith("bias"))]
    expected = exact(net, x)[1].sum()
    slopes = torch.autograd.grad(expected, about)
    values, gradients = [], []
    with seeded():
        for _ in range(2000):
            g, found = roulette(net, x.expand(16, -1))
            mean = found.mean()
            values.append(mean.detach())
            grads = torch.autograd.grad(mean, about)
            gradients.append(torch.cat([one.flatten() for one in grads]))
    torch.testing.assert_close(g[0], net(x)[0])
    assert_unbiased(torch.stack(values)[:, None], expected.detach()[None], 0.01)
    flat = torch.cat([one.flatten() for one in slopes])
    assert float(flat.abs().max()) > 0.2
    assert_unbiased(torch.stack(gradients), flat, 0.02)


@pytest.mark.parametrize("roulette", [Roulette(1, 0.5), Roulette(3, 0.6), Roulette(2, 0.0)])
def test_the_number_of_terms_is_drawn_as_their_weights_say(roulette: Roulette) -> None:
    with seeded():
        drawn = [roulette.weights() for _ in range(4000)]
    for k in range(8):
        weights = [weights[k] for weights in drawn if len(weights) > k]
        share = len(weights) / len(drawn)
        chance = 1.0 if k < roulette.num_exact else roulette.go_on ** (k - roulette.num_exact + 1)
        assert abs(share - chance) <= 4 * math.sqrt(chance * (1 - chance) / len(drawn))
        if weights:
            assert weights == pytest.approx([1 / chance] * len(weights))


def test_the_roulette_works_where_gradients_are_switched_off() -> None:
    net, x = network(), draws(3, (D,))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), seeded():
            # Beyond 30 terms nothing is left of a series of 0.8^k.
            probes = torch.stack([Roulette(30, 0.0)(net, x)[1] for _ in range(100)])
        assert probes.shape == (100, 3)
        torch.testing.assert_close(probes.mean(0), exact(net, x)[1], atol=0.1, rtol=0)


@pytest.mark.parametrize(("num_exact", "go_on"), [(0, 0.5), (1, 1.0), (1, -0.1)])
def test_a_roulette_that_does_not_end_is_refused(num_exact: int, go_on: float) -> None:
    with pytest.raises(ValueError, match="accepted are"):
        Roulette(num_exact, go_on)


def test_unasked_gives_the_value_only() -> None:
    found, x = block(), draws(3, (D,))
    z, log_det = found.by(residual.unasked, x)
    torch.testing.assert_close(z, found(x)[0])
    torch.testing.assert_close(log_det, found.enter(x)[1])


def test_initialising_sets_the_actnorm_and_gives_z() -> None:
    found = block()
    x = 3 * draws(500, (D,)) + 5
    z = found.initialise(x)
    torch.testing.assert_close(z, found(x)[0])
    entered = found.enter(x)[0]
    torch.testing.assert_close(entered.mean(0), torch.zeros(D).double(), atol=1e-9, rtol=0)


class Turned(nn.Module):
    """g(x) = -cap x, the slowest of all to invert."""

    def __init__(self, cap: float) -> None:
        super().__init__()
        self.cap = cap

    def forward(self, x: Tensor) -> Tensor:
        return -self.cap * x


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_the_slowest_network_is_inverted_in_the_passes_that_are_allowed(tolerance: float) -> None:
    slow: Any = Turned(0.9)
    found = ResidualBlock((D,), (D,), Chain([]), slow)
    x = draws(3, (D,)).sign() * torch.tensor([[1.0], [10.0], [900.0]])
    z = 0.1 * x
    guess, stops = z, []
    for num in range(1, found.num_passes(tolerance) + 1):
        guess, still = found.refined(z, guess, torch.full((3,), tolerance).double())
        stops.append((num, still.tolist()))
    assert float((guess - x).abs().max()) <= tolerance
    assert stops[0][1] == [False] * 3
    assert stops[-1][1] == [True] * 3
    # A change of tolerance is an error of at most Lip / (1 - Lip) as much.
    first = next(num for num, still in stops if still[0])
    left = float((x - z)[0].abs().max()) * 0.9**first
    assert left <= tolerance * 0.9 / 0.1 * (1 + 1e-9)


def test_a_row_is_inverted_alike_in_any_company() -> None:
    found = image_block()
    z = torch.cat([draws(2, (32,)) * spread for spread in (0.1, 1.0, 20.0)])
    together = found.solved(z, 1e-2)
    alone = torch.cat([found.solved(row[None], 1e-2) for row in z])
    # As coarse as this, one pass more would show.
    torch.testing.assert_close(alone, together, atol=1e-10, rtol=0)
    assert float((found.solved(z) - together).abs().max()) > 1e-4
