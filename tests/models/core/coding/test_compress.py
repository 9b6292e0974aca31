"""Compressing and decompressing: no pixel is lost, in whatever company, and no byte is wasted."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.coding.codec import SEGMENT, SequentialCodec
from models.core.coding.entropy import Writer
from models.core.coding.programs import Compress, Decompress
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import NoParams, run
from models.core.contract.rows import Rows
from models.made import Model as Made
from tests.support.models.cases import SUBJECTS, in_company, model_of, rows_at
from tests.support.models.tiny import events_of, random_model

CODED = [s for s in SUBJECTS if "compress" in model_of(s).operations()]
SHARP: dict[str, dict[str, Any]] = {
    "made": {"hidden": (40,), "num_masks": 4},
    "made.residual": {"residual": True, "activation": "silu", "direct": False, "num_masks": 2},
    "made.one_hot": {"num_levels": 5, "output": "categorical", "one_hot": True, "hidden": (30, 20)},
    "made.counts": {"event_shape": (7,), "num_levels": 4, "output": "categorical"},
    "made.grey": {"num_levels": 256, "output": "logistic_mixture", "num_masks": 1},
    "pixelcnn": {},
    "pixelcnn.binary": {"num_levels": 2, "output": "bernoulli", "num_classes": 0},
    "pixelcnn.grey": {"num_levels": 256, "output": "logistic_mixture", "event_shape": (1, 3, 5)},
    "pixelcnn.colour": {
        "num_levels": 256,
        "output": "logistic_mixture",
        "event_shape": (3, 2, 3),
    },
}
"""Configs that between them reach every branch of the two sequential codecs."""


def sharp(name: str, seed: int = 0) -> GenerativeModel:
    """A tiny model that is sure enough of its own samples to be worth a code."""
    model = random_model(name.partition(".")[0], seed=seed, **SHARP[name])
    net: Any = model.net
    (net.output if hasattr(net, "output") else net.out).weight.mul_(4)
    return model


def segments(model: GenerativeModel, counts: list[int], seed: int = 0) -> Rows:
    """Samples in segments of so many; what lies beyond them is noise that nothing may read."""
    sample = model.operations()["sample"]
    drawn = run(sample, {"seed": row_seeds(seed, len(counts) * SEGMENT)}, sample.default_params)
    x = drawn["x"].unflatten(0, (-1, SEGMENT))
    noise = events_of(model, x.shape[0] * SEGMENT, seed + 1).view_as(x)
    num_images = torch.tensor(counts)
    there = (torch.arange(SEGMENT) < num_images[:, None]).view(*x.shape[:2], *[1] * (x.ndim - 2))
    return {"x": torch.where(there, x, noise), "num_images": num_images}


def code_of(model: GenerativeModel, rows: Rows) -> Rows:
    """What decompressing takes."""
    codes = run(model.operations()["compress"], rows, NoParams())
    return {**codes, "num_images": rows["num_images"]}


def codec_of(model: GenerativeModel) -> SequentialCodec:
    """Of a model that codes level by level."""
    operation = model.operations()["decompress"]
    assert isinstance(operation, Decompress)
    assert isinstance(operation.codec, SequentialCodec)
    return operation.codec


def assert_restored(x: Tensor, rows: Rows) -> None:
    """Equal events where there are any."""
    for found, expected, count in zip(x, rows["x"], rows["num_images"].tolist(), strict=True):
        assert torch.equal(found[:count], expected[:count])


@pytest.mark.parametrize("name", SHARP)
def test_no_pixel_is_lost_and_no_byte_is_wasted(name: str) -> None:
    model = sharp(name)
    rows = segments(model, [16, 1, 7, 16])
    codes = code_of(model, rows)
    assert_restored(run(model.operations()["decompress"], codes, NoParams())["x"], rows)
    likelihood = model.operations()["log_likelihood"]
    events = torch.cat([x[:n] for x, n in zip(rows["x"], rows["num_images"].tolist(), strict=True)])
    asked = {"x": events, "seed": row_seeds(0, len(events))}
    nats = -float(run(likelihood, asked, likelihood.default_params)["log_prob"].sum())
    # By an order for each event, a code is a bound on the mixture of all orders.
    num_orders = getattr(model.config, "num_masks", 1)
    most = nats + len(events) * math.log(num_orders) if num_orders > 1 else nats
    assert 0.98 * nats / math.log(2) / 8 - 4 < int(codes["num_bytes"].sum())
    assert int(codes["num_bytes"].sum()) < 1.005 * most / math.log(2) / 8 + len(rows["x"])


@pytest.mark.parametrize("name", SHARP)
def test_the_pass_and_the_steps_come_to_the_same_bits(name: str) -> None:
    model = sharp(name)
    codec = codec_of(model)
    assert model.grid is not None
    levels = model.grid.levels(events_of(model, 6)).flatten(1)
    for index in range(codec.num_orders):
        expected = codec.parallel(levels, index)
        order = torch.full((6,), index)
        place = codec.order(index)
        kept, known = codec.start(6), torch.zeros_like(levels)
        for step in range(codec.num_steps):
            at = torch.full((6,), step)
            params, changed = codec.sequential(kept, known, at, order)
            assert torch.equal(params, expected[:, place[step]])
            kept = {**kept, **changed}
            known[:, place[step]] = levels[:, place[step]]


@pytest.mark.parametrize("name", SHARP)
def test_company_changes_neither_bytes_nor_pixels(name: str) -> None:
    model = sharp(name)
    rows = segments(model, [3, 16, 1, 9])
    codes = code_of(model, rows)
    for i in range(4):
        alone = code_of(model, rows_at(rows, slice(i, i + 1)))
        assert torch.equal(alone["code"], codes["code"][i : i + 1])
    # Rows that join later are at other steps, and at other dimensions.
    requests: list[tuple[Rows, Any]] = [
        (rows_at(codes, slice(i, i + 1)), NoParams()) for i in range(4)
    ]
    found = in_company(model.operations()["decompress"], requests)
    assert_restored(torch.cat([result["x"] for result in found]), rows)


@pytest.mark.parametrize("subject", CODED)
def test_noise_is_kept_as_it_is_and_takes_no_more_than_that(subject: str) -> None:
    model = model_of(subject)
    x = events_of(model, 3 * SEGMENT).unflatten(0, (3, SEGMENT))
    rows = {"x": x, "num_images": torch.tensor([16, 5, 1])}
    codes = code_of(model, rows)
    compress = model.operations()["compress"]
    assert isinstance(compress, Compress)
    for size, count in zip(codes["num_bytes"].tolist(), [16, 5, 1], strict=True):
        assert size <= compress.width * count // SEGMENT + 1
    assert_restored(run(model.operations()["decompress"], codes, NoParams())["x"], rows)


@pytest.mark.parametrize("subject", CODED)
def test_any_bytes_become_events(subject: str) -> None:
    model = model_of(subject)
    decompress = model.operations()["decompress"]
    x = run(decompress, decompress.own_inputs(6, seed=1), NoParams())["x"]
    assert model.grid is not None
    assert torch.equal(model.grid.values(model.grid.levels(x)), x)


def test_bytes_beyond_the_end_of_a_code_mean_nothing() -> None:
    model = sharp("pixelcnn")
    rows = segments(model, [4, 4])
    codes = code_of(model, rows)
    beyond = torch.arange(codes["code"].shape[1]) >= codes["num_bytes"][:, None]
    assert not bool(codes["code"][beyond].any())
    codes["code"] = torch.where(beyond, 255, codes["code"])
    assert_restored(run(model.operations()["decompress"], codes, NoParams())["x"], rows)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("num_images", 0, "1 to 16"),
        ("num_images", 17, "1 to 16"),
        ("num_bytes", -1, "num_bytes -1"),
        ("num_bytes", 99, "num_bytes 99"),
    ],
)
def test_numbers_that_no_code_has_are_refused(column: str, value: int, named: str) -> None:
    model = model_of("made")
    codes = {
        "code": torch.zeros(2, 18, dtype=torch.uint8),
        "num_bytes": torch.tensor([1, 1]),
        "num_images": torch.tensor([1, 2]),
    }
    codes[column][1] = value
    with pytest.raises(ValueError, match=named):
        model.operations()["decompress"].init(codes, NoParams())
    if column == "num_images":
        rows = {"x": torch.zeros(2, SEGMENT, 1, 3, 3), column: codes[column]}
        with pytest.raises(ValueError, match=named):
            model.operations()["compress"].init(rows, NoParams())


def test_codes_of_another_shape_and_plain_levels_that_are_none_are_refused() -> None:
    model = random_model("made", num_levels=3, output="categorical")
    decompress = model.operations()["decompress"]
    assert isinstance(decompress, Decompress)
    one = {"num_bytes": torch.tensor([3]), "num_images": torch.tensor([1])}
    with pytest.raises(ValueError, match="36 bytes"):
        decompress.init({"code": torch.zeros(1, 35, dtype=torch.uint8), **one}, NoParams())
    with pytest.raises(ValueError, match="level 3"):
        decompress.init({"code": torch.full((1, 36), 255, dtype=torch.uint8), **one}, NoParams())


@pytest.mark.parametrize("name", ["compress", "decompress"])
def test_inputs_that_are_missing_are_named(name: str) -> None:
    operation = model_of("made").operations()[name]
    with pytest.raises(ValueError, match="num_images"):
        operation.check({"x", "seed"}, NoParams())
    operation.check({"x", "code", "num_bytes", "num_images"}, NoParams())


def test_an_event_can_be_watched_while_it_is_decompressed() -> None:
    model = sharp("pixelcnn")
    rows = segments(model, [2])
    decompress = model.operations()["decompress"]
    state = decompress.init(code_of(model, rows), NoParams())
    for step in range(model.num_dims):
        seen = decompress.preview(state)
        assert seen is not None
        for found, expected in zip(
            seen[0, :2].flatten(1), rows["x"][0, :2].flatten(1), strict=True
        ):
            assert torch.equal(found[:step], expected[:step])
            assert not bool(found[step:].any())
        state = decompress.step(state)
    assert model.operations()["compress"].preview(rows) is None


def test_images_that_share_a_code_are_cheaper_than_alone() -> None:
    model = sharp("pixelcnn.binary")
    rows = segments(model, [16])
    together = int(code_of(model, rows)["num_bytes"])
    ones = {
        "x": rows["x"][0][:, None].expand(-1, SEGMENT, -1, -1, -1),
        "num_images": torch.ones(16),
    }
    ones["num_images"] = ones["num_images"].long()
    alone = code_of(model, ones)["num_bytes"]
    assert together <= int(alone.sum()) - 4


def test_an_encoder_takes_the_shortest_order() -> None:
    model = sharp("made")
    assert isinstance(model, Made)
    codec = codec_of(model)
    x = segments(model, [16])["x"][0]
    assert model.grid is not None
    levels = model.grid.levels(x).flatten(1)
    whole = Writer()
    codec.write(levels, whole)
    nats = torch.stack([-model.log_prob(x, mask) for mask in range(4)])
    bits = float(nats.min(0).values.sum()) / math.log(2) + 16 * 2
    assert len(whole.finish()) == pytest.approx(bits / 8, abs=1.5)
