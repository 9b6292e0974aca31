"""Spectral bounds against singular values of whole matrices, networks against their Jacobians."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.core.nn.lipschitz import Spectral, SpectralConv, SpectralLinear
from models.core.nn.lipschitz_net import (
    ConcatenatedLipSwish,
    DenseLayer,
    LipschitzNet,
    LipSwish,
    PlainLayer,
    activation,
)
from tests.support.models.invertible import draws, seeded, wild

CAP = 0.9
CONVOLUTIONS = [((3, 5), 3, 3), ((8, 8), 2, 3), ((6, 4), 2, 5), ((1, 1), 3, 3), ((4, 4), 3, 1)]
every_convolution = pytest.mark.parametrize(("sides", "channels", "kernel"), CONVOLUTIONS)


def convolution(
    sides: tuple[int, int], channels: int, kernel: int, cap: float = CAP
) -> SpectralConv:
    """With random weights far beyond the cap, in float64."""
    with seeded():
        layer = SpectralConv(channels, channels + 1, cap, sides=sides, kernel=kernel)
    wild(layer, 3.0)
    return layer


def dense(num_in: int, num_out: int, cap: float = CAP) -> SpectralLinear:
    """The same, fully connected."""
    with seeded():
        layer = SpectralLinear(num_in, num_out, cap)
    wild(layer, 3.0)
    return layer


def norm_of(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> float:
    """The spectral norm of a linear map, by all of its matrix."""
    size = torch.Size(shape).numel()
    basis = torch.eye(size, dtype=torch.float64).view(size, *shape)
    columns = function(basis) - function(torch.zeros_like(basis))
    return float(torch.linalg.svdvals(columns.flatten(1))[0])


def test_the_bound_of_a_dense_layer_is_its_largest_singular_value() -> None:
    layer = dense(4, 7)
    assert float(layer.bound()) == pytest.approx(norm_of(layer, (4,)), rel=1e-12)
    assert float(layer.bound()) > 3 * CAP


@every_convolution
def test_the_bound_of_a_convolution_is_no_less_than_its_norm(
    sides: tuple[int, int], channels: int, kernel: int
) -> None:
    layer = convolution(sides, channels, kernel)
    norm, bound = norm_of(layer, (channels, *sides)), float(layer.bound())
    assert norm <= bound * (1 + 1e-12)
    if kernel == 1:
        assert norm == pytest.approx(bound, rel=1e-12)
    if sides == (8, 8):
        assert norm > 0.9 * bound


@every_convolution
def test_that_bound_is_the_norm_on_the_torus(
    sides: tuple[int, int], channels: int, kernel: int
) -> None:
    layer = convolution(sides, channels, kernel)
    padding = kernel // 2
    torus = (sides[0] + padding, sides[1] + padding)
    # As often round as the kernel reaches, where padding by torch goes round once at most.
    down, across = (torch.arange(-padding, side + padding) % side for side in torus)
    norm = norm_of(
        lambda x: nn.functional.conv2d(x[:, :, down][..., across], layer.weight), (channels, *torus)
    )
    assert norm == pytest.approx(float(layer.bound()), rel=1e-10)


@every_convolution
def test_folding_brings_a_convolution_below_its_cap(
    sides: tuple[int, int], channels: int, kernel: int
) -> None:
    layer = convolution(sides, channels, kernel).eval()
    assert norm_of(layer, (channels, *sides)) <= float(layer.bound()) * (1 + 1e-12)
    assert float(layer.bound()) <= CAP
    assert float(layer.bound()) > 0.99 * CAP


def layers() -> list[Spectral]:
    """One of each kind, beyond its cap, in float32."""
    return [dense(40, 30).float(), convolution((6, 6), 8, 3).float()]


def test_what_is_inside_is_left_alone_and_rounding_keeps_it_inside() -> None:
    for layer in layers():
        layer.eval()
        assert float(layer.bound()) <= CAP
        layer.weight.copy_(layer.weight.half())
        rounded = layer.weight.clone()
        assert 0.99 * CAP < float(layer.bound()) <= CAP
        layer.train().eval()
        assert torch.equal(layer.weight, rounded)
        layer.weight.mul_(0.1)
        layer.train().eval()
        torch.testing.assert_close(layer.weight, 0.1 * rounded)


def test_power_iteration_comes_to_the_same_weights() -> None:
    for layer in layers():
        other = copy.deepcopy(layer).eval()
        layer.project(300)
        torch.testing.assert_close(layer.weight, other.weight, atol=0, rtol=3e-3)


def test_power_iteration_goes_on_where_it_was() -> None:
    for layer in layers():
        large = layer.weight.clone()
        for _ in range(300):
            layer.weight.copy_(large)
            layer.project()
        assert float(layer.bound()) == pytest.approx(CAP, rel=5e-3)


def test_weights_that_are_no_numbers_have_no_bound_and_stay_what_they_are() -> None:
    for layer in layers():
        layer.weight.view(-1)[0] = torch.nan
        assert float(layer.eval().bound()) == torch.inf
        assert bool(layer.weight.view(-1)[0].isnan())


def test_an_average_of_folded_weights_is_inside() -> None:
    one, other = dense(9, 5).eval(), dense(9, 5)
    other.weight.copy_(draws(5, (9,), seed=3)).mul_(5)
    other.eval()
    one.weight.copy_(0.3 * one.weight + 0.7 * other.weight)
    assert float(one.bound()) <= CAP


@pytest.mark.parametrize("raw_beta", [-2.0, 0.5, 3.0])
@pytest.mark.parametrize("kind", [LipSwish, ConcatenatedLipSwish])
def test_no_slope_of_an_activation_is_beyond_one_and_some_is_near(
    kind: type[LipSwish], raw_beta: float
) -> None:
    phi = kind().double().requires_grad_(False)
    phi.raw_beta.fill_(raw_beta)
    x = torch.linspace(-60, 60, 240_001, dtype=torch.float64)[:, None].requires_grad_(True)
    slopes = [torch.autograd.grad(half.sum(), x, retain_graph=True)[0] for half in phi(x).T]
    steepest = float(torch.linalg.vector_norm(torch.cat(slopes, 1), dim=1).max())
    assert 1 - 1e-5 < steepest <= 1


def test_concatenated_lipswish_is_lipswish_on_both_sides() -> None:
    phi = ConcatenatedLipSwish().double().requires_grad_(False)
    x = draws(4, (3, 2, 2))
    swish = x * (nn.functional.softplus(phi.raw_beta) * x).sigmoid()
    mirrored = -x * (-nn.functional.softplus(phi.raw_beta) * x).sigmoid()
    found = phi(x) * 1.1043616
    torch.testing.assert_close(found, torch.cat([swish, mirrored], 1))


def network(**settings: Any) -> LipschitzNet:
    """Of vectors of 5, in float64, with random weights folded."""
    wanted: dict[str, Any] = {
        "width": 8,
        "depth": 2,
        "dense": True,
        "activation_name": "clipswish",
        "cap": CAP,
        "wide": SpectralLinear,
        "narrow": SpectralLinear,
    }
    with seeded():
        net = LipschitzNet(5, **{**wanted, **settings})
    wild(net, 2.0)
    return net.eval()


@pytest.mark.parametrize("name", ["lipswish", "clipswish"])
@pytest.mark.parametrize("is_dense", [True, False])
def test_no_jacobian_of_a_network_is_beyond_its_bound(is_dense: bool, name: str) -> None:
    net = network(dense=is_dense, activation_name=name)
    x = torch.cat([draws(200, (5,)) * spread for spread in (0.1, 1.0, 10.0)])
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: net(v[None])[0]))(x)
    norm = torch.linalg.matrix_norm(jacobian, 2)
    bound = float(net.bound())
    assert 0.2 * CAP < float(norm.max()) <= bound <= CAP


def test_the_bound_of_a_network_is_the_product_of_its_layers() -> None:
    net = network(dense=False)
    for layer in (net.layers[0].wide, net.layers[1].wide, net.last):
        assert isinstance(layer, Spectral)
        layer.weight.mul_(0.5)
    parts = [net.layers[0].wide, net.layers[1].wide, net.last]
    expected = 1.0
    for part in parts:
        assert isinstance(part, Spectral)
        expected *= float(torch.linalg.svdvals(part.weight)[0])
    assert float(net.bound()) == pytest.approx(expected, rel=1e-10)


def test_a_dense_layer_keeps_what_it_saw_and_its_constant_is_reached() -> None:
    layer = DenseLayer(dense(3, 3, 1.0), nn.Identity()).double().eval().requires_grad_(False)
    layer.angle.fill_(0.3)
    h = draws(4, (3,))
    torch.testing.assert_close(layer(h)[:, :3], layer.angle.cos() * h)
    layer.wide.weight.copy_(torch.eye(3))
    assert float(layer.bound()) == pytest.approx(norm_of(layer, (3,)), rel=1e-10)
    layer.wide.weight.copy_(torch.diag(torch.tensor([0.5, 0.2, 0.0])))
    assert float(layer.bound()) == pytest.approx(norm_of(layer, (3,)), rel=1e-10)
    plain = PlainLayer(layer.wide, nn.Identity())
    assert float(plain.bound()) == pytest.approx(norm_of(plain, (3,)), rel=1e-10)


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({"depth": 0}, "1 and more"),
        ({"width": 0}, "1 and more"),
        ({"cap": 1.0}, "between 0 and 1"),
        ({"cap": 0.0}, "between 0 and 1"),
        ({"activation_name": "relu"}, "lipswish, clipswish"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        network(**settings)


def test_even_kernels_and_unknown_activations_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        SpectralConv(1, 1, CAP, sides=(4, 4), kernel=2)
    unknown: Any = "tanh"
    with pytest.raises(ValueError, match="accepted are"):
        activation(unknown)
