"""What the likelihood of diffusion models says of itself, and what its passes add up to."""

import math

import pytest
import torch
from torch import Tensor

from models.core.contract.grid import Grid
from models.core.contract.likelihood import Likelihood
from models.core.contract.operation import run
from models.core.diffusion.likelihood import DiffusionLogLikelihood, DiffusionLogLikelihoodParams
from models.core.diffusion.schedule import Schedule
from tests.support.models.diffusion_oracle import MixtureOracle, gaussian_oracle, pair_oracle

GREY = Grid(256)
Params = DiffusionLogLikelihoodParams


def narrow(num_train_steps: int) -> MixtureOracle:
    """One Gaussian of 4 x 4 pixels."""
    return gaussian_oracle(0.1, 0.15, (1, 4, 4), Schedule(num_train_steps)).double()


def pixels(model: MixtureOracle, num: int) -> Tensor:
    """Events drawn from the model's data, on the grid, in float64."""
    z, _ = model.sample_data(num)
    return GREY.values(GREY.levels((z + 1) / 2)).double()


def test_several_passes_have_a_mean_and_its_standard_error() -> None:
    model = narrow(5)
    operation = DiffusionLogLikelihood(model)
    inputs = {"x": pixels(model, 4), "seed": torch.full((4,), 7)}
    params = Params(num_steps=5, num_samples=3)
    rows = operation.init(inputs, params)
    means = []
    for _ in range(3):
        for _ in range(5):
            rows = operation.step(rows)
        means.append(rows["mean"])
    values = torch.stack([means[0], 2 * means[1] - means[0], 3 * means[2] - 2 * means[1]])
    result = operation.finish(rows)
    torch.testing.assert_close(result["log_prob"], values.mean(0).float())
    expected = (values.std(0) / math.sqrt(3)).float()
    torch.testing.assert_close(result["standard_error"], expected, rtol=1e-4, atol=0)
    alone = run(operation, inputs, Params())
    torch.testing.assert_close(alone["log_prob"], values[0].float())
    assert bool(alone["standard_error"].isnan().all())
    assert bool((values.std(0) > 0).all())


@pytest.mark.parametrize("params", [Params(num_samples=3), Params(num_terms=4), Params()])
def test_a_pass_has_the_prior_once(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own value is too small to be seen, as the end of the chain is all but noise."""
    model = narrow(6)
    operation = DiffusionLogLikelihood(model)
    inputs = {"x": pixels(model, 3), "seed": torch.full((3,), 7)}
    usual = run(operation, inputs, params)["log_prob"]

    def prior(x: Tensor) -> Tensor:
        return torch.full((len(x),), -100.0, dtype=torch.float64)

    monkeypatch.setattr(operation.bound, "prior", prior)
    found = run(operation, inputs, params)["log_prob"]
    torch.testing.assert_close(found, usual - 100, atol=1e-3, rtol=0)


def test_a_label_takes_part() -> None:
    model = pair_oracle(Schedule(60)).double()
    z, component = model.sample_data(40)
    x = GREY.values(GREY.levels((z + 1) / 2)).double()
    operation = DiffusionLogLikelihood(model)
    inputs = {"x": x, "seed": torch.arange(40)}
    free, given = (
        run(operation, {**inputs, "label": label}, Params())["log_prob"].double()
        for label in (torch.full((40,), -1), component)
    )
    # P(x given its component) = P(x) / P(component), as the two do not overlap.
    expected = -model.weight.log()[component]
    assert float((given - free - expected).mean()) == pytest.approx(0, abs=0.25)
    torch.testing.assert_close(run(operation, inputs, Params())["log_prob"].double(), free)


@pytest.mark.parametrize(
    "params",
    [
        Params(num_steps=21),
        Params(num_terms=21),
        Params(num_terms=1),
        Params(num_steps=5, num_terms=6),
        Params("ode", num_terms=2),
    ],
)
def test_what_has_no_meaning_is_refused(params: Params) -> None:
    operation = DiffusionLogLikelihood(narrow(20))
    with pytest.raises(ValueError, match=r"accepted (is|are)"):
        operation.check({"x", "seed"}, params)


def test_it_says_what_its_number_is_and_what_it_costs() -> None:
    operation = DiffusionLogLikelihood(narrow(20))
    for params, kind, calls in (
        (Params(), Likelihood.BOUND, 20),
        (Params(num_steps=5, num_samples=2), Likelihood.BOUND, 10),
        (Params(num_terms=4, num_samples=3), Likelihood.BOUND, 12),
        (Params("ode"), Likelihood.ESTIMATE, 100),
        (Params("ode", num_steps=3, num_samples=2), Likelihood.ESTIMATE, 24),
    ):
        operation.check({"x", "seed"}, params)
        assert operation.kind(params) is kind
        assert operation.num_steps(params) == calls
