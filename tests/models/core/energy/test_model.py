"""Energies, their gradients and their normalised densities, against sums over small spaces."""

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from models.core.contract.grid import to_unit
from models.core.contract.likelihood import Likelihood, log_cell_volume
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.energy.log_likelihood import EnergyLikelihood, EnergyLikelihoodParams
from models.core.energy.model import EnergyModel
from models.core.nn.conv import class_mask
from tests.support.models.tiny import (
    LOG_Z,
    LOG_Z_ERROR,
    events,
    midpoints,
    pair_model,
    quadrature_log_z,
    random_energy_model,
)

AIS, NONE = EnergyLikelihoodParams("ais"), EnergyLikelihoodParams()


def log_prob(model: EnergyModel, x: Tensor, params: EnergyLikelihoodParams) -> Tensor:
    """The served column."""
    with torch.no_grad():
        return run(EnergyLikelihood(model), {"seed": row_seeds(0, len(x)), "x": x}, params)[
            "log_prob"
        ]


def test_energy_is_minus_logsumexp_and_minus_the_logit_of_a_label() -> None:
    model = random_energy_model()
    x = events(8, model.event_shape)
    logits = model.logits(x)
    label = torch.tensor([-1, 0, 1, 2, 2, 1, 0, -1])
    expected = [
        -math.log(sum(math.exp(v) for v in row)) if k < 0 else -row[k]
        for row, k in zip(logits.tolist(), label.tolist(), strict=True)
    ]
    assert model.energy(x, label).tolist() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(model.energy(x), model.energy(x, torch.full((8,), -1)))


def test_joint_densities_sum_to_the_density_of_the_image() -> None:
    model = random_energy_model()
    x = events(5, model.event_shape)
    joint = torch.stack([-model.energy(x, torch.full((5,), k)) for k in range(3)], 1)
    torch.testing.assert_close(joint.logsumexp(1), -model.energy(x))


def test_the_energy_of_one_output_is_minus_that_output() -> None:
    model = random_energy_model("ebm")
    x = events(5, model.event_shape)
    torch.testing.assert_close(model.energy(x), -model.logits(x)[:, 0])
    assert model.num_classes == 0


def test_class_mask_allows_the_label_or_all() -> None:
    allowed = (class_mask(torch.tensor([-1, 0, 2]), 3) == 0).int().tolist()
    assert allowed == [[1, 1, 1], [1, 0, 0], [0, 0, 1]]
    logits = torch.tensor([[60.0, -60.0, 0.0]])
    for k in range(3):  # however far the others are above it
        assert (logits + class_mask(torch.tensor([k]), 3)).logsumexp(1) == logits[0, k]


@pytest.mark.parametrize("name", ["ebm", "jem"])
def test_the_gradient_graph_is_the_derivative_in_double_precision(name: str) -> None:
    model = random_energy_model(name)
    x = events(8, model.event_shape)
    label = torch.arange(8) % (model.num_classes + 1) - 1
    mask = class_mask(label, model.num_outputs)
    with torch.no_grad():  # as the engine calls it
        energy, grad = model.compute("energy_grad", x, mask)
    net = deepcopy(model.net).double()
    precise = x.double().requires_grad_()
    expected = -(net(precise) + mask).logsumexp(1)
    (slope,) = torch.autograd.grad(expected.sum(), precise)
    assert energy.dtype == grad.dtype == torch.float32
    assert not energy.requires_grad
    assert not grad.requires_grad
    scale = float(slope.abs().max())
    assert scale > 0.1
    assert float((grad - slope).abs().max()) < 1e-5 * scale
    torch.testing.assert_close(energy.double(), expected.detach(), atol=1e-5, rtol=1e-5)
    # And without calculus: the energy rises by its gradient along a random direction.
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    ends = [-(net(x.double() + s * direction) + mask).logsumexp(1) for s in (1e-5, -1e-5)]
    rise = (ends[0] - ends[1]).detach() / 2e-5
    torch.testing.assert_close(rise, (slope * direction).flatten(1).sum(1), atol=1e-5, rtol=1e-4)


def test_the_density_integrates_to_one() -> None:
    model = pair_model()
    model.log_z.fill_(quadrature_log_z(model, 400))
    # Another grid than the one log Z came from, and the very operation that is served.
    x = midpoints(90)
    log_density = log_prob(model, x, AIS).double() - log_cell_volume(2)
    density = log_density.exp()
    assert float(density.max() / density.min()) > 50
    assert float(density.mean()) == pytest.approx(1, abs=1e-3)


def test_the_probabilities_of_all_images_sum_to_one() -> None:
    model = pair_model()
    model.log_z.fill_(quadrature_log_z(model, 400))
    levels = to_unit(torch.arange(256, dtype=torch.uint8))
    every_image = torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)
    total = sum(
        float(log_prob(model, x, AIS).double().exp().sum()) for x in every_image.split(20_000)
    )
    # One point stands for its cell, and x = pixel / 255 lies up to half a cell off its centre;
    # here, where the density varies by far more than in one cell of a real model, that is 2 %.
    assert total == pytest.approx(1, abs=0.03)


def test_both_estimators_say_what_they_return() -> None:
    model = random_energy_model()
    operation = EnergyLikelihood(model)
    x = events(4, model.event_shape)
    inputs = {"seed": row_seeds(0, 4), "x": x}
    plain, normalised = run(operation, inputs, NONE), run(operation, inputs, AIS)
    energy = model.energy(x)
    torch.testing.assert_close(plain["log_prob"], -energy)
    assert bool(plain["standard_error"].isnan().all())
    torch.testing.assert_close(normalised["log_prob"], -energy - LOG_Z - 64 * math.log(256))
    assert normalised["standard_error"].tolist() == [LOG_Z_ERROR] * 4
    assert operation.kind(NONE) is Likelihood.UNNORMALISED
    assert operation.kind(AIS) is Likelihood.ESTIMATE
    assert operation.default_params == NONE
    assert operation.examples == (NONE, AIS)


def test_without_log_z_no_estimate_is_offered_or_made() -> None:
    model = random_energy_model()
    model.log_z.fill_(math.nan)
    operation = EnergyLikelihood(model)
    assert operation.examples == (NONE,)
    operation.check({"x"}, NONE)
    with pytest.raises(ValueError, match="no log Z"):
        operation.check({"x"}, AIS)
    with pytest.raises(ValueError, match="needs images"):
        operation.check({"seed"}, NONE)


def test_operations_are_those_of_the_family() -> None:
    jem, ebm = random_energy_model("jem"), random_energy_model("ebm")
    assert set(ebm.operations()) == {
        *("sample", "log_likelihood", "energy", "features", "gradient_norm")
    }
    assert set(jem.operations()) == set(ebm.operations()) | {"classify"}
    for model in (jem, ebm):
        assert {name for o in model.operations().values() for name in o.graphs} == set(
            model.graphs()
        )


def test_contrastive_divergence_compares_data_with_where_a_step_leads() -> None:
    """A short step down from the data: the loss is positive, and known to first order."""
    model = random_energy_model("ebm", step_size=0.05, noise_scale=0.0)
    x = events(16, model.event_shape) * 0.5 + 0.25
    grad = model.compute("energy_grad", x, torch.zeros(16, 1))[1]
    loss = model.loss(x)
    assert bool((loss > 0).all())
    expected = 0.05 * grad.flatten(1).square().sum(1)  # first order
    torch.testing.assert_close(loss, expected, rtol=0.3, atol=1e-4)


def test_the_joint_loss_adds_the_cross_entropy_of_the_label() -> None:
    model = random_energy_model("jem", noise_scale=0.0)
    x, y = events(9, model.event_shape), torch.arange(9) % 3
    added = model.loss(x, y) - model.loss(x)
    expected = model.logits(x).logsumexp(1) - model.logits(x)[torch.arange(9), y]
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-4)


def test_a_backend_takes_over_a_graph_and_hands_it_back() -> None:
    model = random_energy_model()
    x = events(2, model.event_shape)
    own = log_prob(model, x, NONE)
    model.use("logits", lambda _: (torch.zeros(2, 3), torch.ones(2)))
    assert log_prob(model, x, NONE).tolist() == [-1.0, -1.0]
    model.use("logits", None)
    assert torch.equal(log_prob(model, x, NONE), own)
