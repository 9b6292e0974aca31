"""What an integer flow serves: exact frequencies, whole latents, the same in any company."""

import torch

from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import concat
from tests.support.models.cases import rows_at
from tests.support.models.integer_flows import BINARY, by_the_coder_s_way, combinations, model_of
from tests.support.models.tiny import events_of


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


def test_every_row_has_its_own_temperature() -> None:
    operation = model_of().operations()["sample"]
    tables = [
        operation.init({"seed": row_seeds(0, 3)}, operation.Params(temperature=t)) for t in (2.0, 0)
    ]
    together = operation.step(concat(tables))
    assert torch.equal(together["x"], concat([operation.step(rows) for rows in tables])["x"])


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
