"""MAF and IAF against answers that are known: a Gaussian of any covariance, and zuko's flow."""

import math
from typing import Any

import pytest
import torch
import zuko
from torch import Tensor, nn

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.distributions.normal import standard_normal_log_prob
from models.core.flow.inversion_programs import SampleByInversionParams
from models.core.nn.masked import MaskedMLP, wiring
from models.core.transforms.autoregressive import Affine, Autoregressive
from models.maf import Config, Model
from tests.support.models.invertible import draws

directions = pytest.mark.parametrize("direction", ["maf", "iaf"])

GAUSSIAN_MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
GAUSSIAN_FACTOR = torch.tensor(
    [[0.5, 0.0, 0.0], [-1.0, 1.5, 0.0], [0.3, 2.0, 0.25]], dtype=torch.float64
)


def gaussian(direction: Any) -> Model:
    """One block whose direct connections hold x = mean + factor z, z standard normal.

    Of x, dimension i is normal about a linear function of those before; of z it is a sum.
    """
    config = Config(event_shape=(3,), num_levels=0, num_blocks=1, direct=True, direction=direction)
    model = Model(config).double().requires_grad_(False)
    # maf: x_i = mu_i(x) + e^alpha_i z_i; iaf: z and x change places in that line.
    factor = GAUSSIAN_FACTOR if direction == "maf" else GAUSSIAN_FACTOR.inverse()
    mean = GAUSSIAN_MEAN if direction == "maf" else -factor @ GAUSSIAN_MEAN
    scale = factor.diagonal()
    slope = torch.eye(3, dtype=torch.float64) - torch.diag(scale) @ factor.inverse()
    shift = torch.diag(scale) @ factor.inverse() @ mean
    net = model.blocks[0].net
    for parameter in model.parameters():
        parameter.zero_()
    assert net.direct is not None
    net.direct.weight.view(3, 2, 3)[:, 0] = slope
    net.output.bias.view(3, 2)[:, 0] = shift
    net.output.bias.view(3, 2)[:, 1] = 5 * (scale.log() / 5).atanh()
    return model


@directions
def test_exact_parameters_are_a_known_gaussian(direction: str) -> None:
    model = gaussian(direction)
    target = torch.distributions.MultivariateNormal(GAUSSIAN_MEAN, scale_tril=GAUSSIAN_FACTOR)
    x = GAUSSIAN_MEAN + 2 * draws(20, (3,))
    torch.testing.assert_close(model.log_prob(x), target.log_prob(x), atol=1e-9, rtol=0)


@pytest.mark.parametrize("method", ["sequential", "fixed_point"])
@directions
def test_samples_have_the_moments_of_a_known_gaussian(direction: str, method: Any) -> None:
    model, num = gaussian(direction).float(), 20_000
    operation = model.operations()["sample"]
    params = operation.Params(temperature=0.5)
    if direction == "maf":
        params = SampleByInversionParams(temperature=0.5, method=method)
    x = run(operation, {"seed": row_seeds(0, num)}, params)["x"].double()
    covariance = 0.25 * GAUSSIAN_FACTOR @ GAUSSIAN_FACTOR.T
    error = (covariance.diagonal() / num).sqrt()
    assert float(((x.mean(0) - GAUSSIAN_MEAN) / error).abs().max()) < 4
    spread = covariance.diagonal().sqrt()
    error = spread[:, None] * spread * math.sqrt(2 / num)
    assert float(((x.T.cov() - covariance) / error).abs().max()) < 4


def reached(mlp: zuko.nn.MaskedMLP) -> list[Tensor]:
    """How many inputs reach each unit of each hidden layer of another library's network."""
    layers = [layer for layer in mlp if isinstance(layer, zuko.nn.MaskedLinear)]
    reach = torch.eye(layers[0].in_features, dtype=torch.float64)
    found = []
    for layer in layers[:-1]:
        reach = layer.mask.double() @ reach
        found.append((reach > 0).sum(1))
    return found


def test_zuko_agrees() -> None:
    """Their masks and order, their linear layers, their flow; only the weights are copied."""
    torch.manual_seed(0)
    size, hidden, bound = 6, (18, 13), 5.0
    theirs, ours = [], []
    for order in (torch.arange(size), torch.arange(size).flip(0)):
        transform = zuko.flows.MaskedAutoregressiveTransform(
            features=size,
            order=order,
            univariate=_zuko_affine,
            shapes=[(), ()],
            hidden_features=hidden,
            activation=nn.SiLU,
        ).double()
        mlp = transform.hyper
        net = MaskedMLP([wiring(order.argsort(), hidden)], 1, 2, activation="silu").double()
        for layer, degrees in enumerate(reached(mlp)):
            net.get_buffer(f"degrees_{layer + 1}").copy_(degrees[None])
        linears = [layer for layer in mlp if isinstance(layer, nn.Linear)]
        for own, other in zip([*net.layers, net.output], linears, strict=True):
            own.load_state_dict({name: other.get_parameter(name) for name in ("weight", "bias")})
        theirs.append(transform)
        ours.append(Autoregressive(net, Affine(bound)).double())
    flow = zuko.lazy.Flow(
        theirs,
        zuko.lazy.UnconditionalDistribution(
            zuko.distributions.DiagNormal,
            torch.zeros(size, dtype=torch.float64),
            torch.ones(size, dtype=torch.float64),
            buffer=True,
        ),
    )
    x = 2 * draws(50, (size,))
    z, total = x, x.new_zeros(len(x))
    for block in ours:
        z, log_abs_det = block(z)
        total = total + log_abs_det
    found = standard_normal_log_prob(z) + total
    torch.testing.assert_close(found, flow().log_prob(x), atol=1e-10, rtol=0)
    assert float(total.detach().std()) > 0.05  # or agreement says little


def _zuko_affine(mu: Tensor, raw: Tensor) -> torch.distributions.AffineTransform:
    scale = (-5 * (raw / 5).tanh()).exp()
    return torch.distributions.AffineTransform(-mu * scale, scale)
