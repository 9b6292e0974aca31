"""Glow: whole flows against autograd, the prior of what is factored out, its settings."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from models.core.transforms.actnorm import ActNorm
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.dequantisation import UniformDequantisation
from models.core.transforms.linear import PLU, QR
from models.core.transforms.multiscale import FactorOut, squeeze
from models.core.transforms.variational_dequantisation import VariationalDequantisation
from models.glow import Config, Model
from tests.support.models.invertible import assert_invertible, draws, seeded, wild

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "qr": {"linear": "qr", "num_scales": 1, "event_shape": (2, 2, 4)},
    "three-scales": {"event_shape": (1, 8, 8), "num_scales": 3, "flow_steps": 1},
    "centred": {"logit_margin": 0.0, "num_scales": 1, "num_levels": 256},
}


def made(spread: float = 0.1, **config: Any) -> Model:
    """With random weights, in float64."""
    with seeded():
        model = Model(Config(**config))
    wild(model, spread)
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_log_abs_det_is_that_of_autograd(name: str) -> None:
    model = made(**CONFIGS[name])
    y = draws(2, model.event_shape).sigmoid()
    assert_invertible(model.flow, y, atol=1e-6)
    assert model.flow(y)[0].shape == (2, model.num_dims)


def test_the_kept_half_says_where_the_factored_out_half_lies() -> None:
    # With steps that change nothing what is left is N(kept; 0, I) N(out; mean(kept), sd(kept)).
    model = made(0.5, flow_steps=1, event_shape=(1, 4, 4))
    for part in model.flow.parts[1].modules():
        if isinstance(part, PLU):
            part.rows.copy_(torch.arange(len(part.rows)))
        if isinstance(part, PLU | ActNorm) or (isinstance(part, AffineCoupling) and _deep(part)):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)
    (prior,) = (
        part
        for part in model.flow.modules()
        if isinstance(part, AffineCoupling) and not _deep(part)
    )
    y = draws(3, (1, 4, 4)).sigmoid()
    x, into = model.flow.parts[0](y)
    kept, out = squeeze(x).chunk(2, 1)
    raw, shift = prior.network(kept).chunk(2, 1)
    limit = prior.log_limit.exp()
    inverse_sd = (limit * (raw / limit).tanh()).exp()
    normal = torch.distributions.Normal
    expected = normal(-shift / inverse_sd, 1 / inverse_sd).log_prob(out).flatten(1).sum(1)
    expected += normal(0.0, 1.0).log_prob(kept).flatten(1).sum(1) + into
    torch.testing.assert_close(model.log_density(y), expected)
    z = model.flow(y)[0]
    torch.testing.assert_close(z[:, 8:], (out * inverse_sd + shift).flatten(1))


def _deep(part: AffineCoupling) -> bool:
    """Whether its network has residual blocks, as that of a step of flow and not of a prior."""
    blocks = part.network.blocks
    assert isinstance(blocks, nn.ModuleList)
    return len(blocks) > 0


def test_half_is_factored_out_after_each_scale_but_the_last() -> None:
    model = Model(Config(event_shape=(1, 28, 28), num_levels=256, flow_steps=3))
    steps = [type(part).__name__ for part in model.modules() if isinstance(part, ActNorm | PLU)]
    assert steps == ["ActNorm", "PLU"] * 6
    (out,) = (part for part in model.modules() if isinstance(part, FactorOut))
    assert out.out_shape == (2, 14, 14)
    sizes = [part.size for part in model.modules() if isinstance(part, PLU)]
    assert sizes == [4] * 3 + [8] * 3


def test_initialisation_makes_latents_of_the_data_standard() -> None:
    # Pixels are independent: of correlated channels the rotation would put more into one half.
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, 1, 8, 8, generator=generator)
    with seeded():
        model = Model(Config(event_shape=(1, 8, 8), num_levels=256, num_scales=3, flow_steps=2))
    with torch.no_grad(), seeded():
        before = model.encode(x, torch.zeros_like(x)).std()
        model.initialise(x)
        z = model.encode(x, torch.randn(x.shape, generator=generator))
    assert float(before) > 1.2
    assert float(z.mean()) == pytest.approx(0, abs=0.05)
    assert float(z.std()) == pytest.approx(1, abs=0.05)


def test_at_28x28_it_inverts_in_float32() -> None:
    model = made(0.02, event_shape=(1, 28, 28), num_levels=256, flow_steps=4, channels=16).float()
    x = draws(4, (1, 28, 28)).float().sigmoid()
    with seeded():
        model.initialise(x)
    with torch.no_grad():
        y = 0.01 + 0.98 * x
        z, log_abs_det = model.flow(y)
        back, inverse = model.flow.inverse(z)
    torch.testing.assert_close(back, y, atol=1e-4, rtol=0)
    torch.testing.assert_close(inverse, -log_abs_det, atol=0.02, rtol=0)


def test_settings_reach_the_parts() -> None:
    assert isinstance(Model(Config()).dequantisation, UniformDequantisation)
    model = Model(Config(dequantisation="variational", dequantisation_channels=5, linear="qr"))
    assert isinstance(model.dequantisation, VariationalDequantisation)
    assert model.dequantisation.features.entry.out_channels == 5
    assert any(isinstance(part, QR) for part in model.modules())
    assert not any(isinstance(part, PLU) for part in model.modules())


def test_variational_noise_is_priced_in_the_bound() -> None:
    model = made(0.05, dequantisation="variational")
    assert model.grid is not None
    x, eps = draws(3, (1, 4, 4), 1).sigmoid(), draws(3, (1, 4, 4))
    levels = model.grid.levels(x).double()
    assert model.dequantisation is not None
    y, log_q = model.dequantisation(levels, eps)
    torch.testing.assert_close(model.log_prob(x, eps), model.log_density(y) - log_q)
    uniform = torch.full_like(log_q, 16 * math.log(4))
    assert not torch.allclose(log_q, uniform, atol=0.1)


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({"event_shape": (4,)}, "images"),
        ({"event_shape": (1, 28, 28), "num_scales": 3}, "even sides"),
        ({"num_scales": 0}, "1 and more"),
        ({"flow_steps": 0}, "1 and more"),
        ({"linear": "svd"}, "'plu' and 'qr'"),
        ({"dequantisation": "none"}, "'uniform' and 'variational'"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        Model(Config(**config))
