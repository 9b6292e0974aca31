"""Compressing by an integer flow: mixtures on all integers, blocks, and what lies beyond them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.coding.codec import SEGMENT
from models.core.coding.entropy import LEAST, TOTAL, Reader, Writer, words_of
from models.core.coding.integer import IntegerCodec
from models.core.contract.operation import NoParams, run
from models.core.contract.rows import Rows
from tests.support.models.cases import in_company, rows_at
from tests.support.models.tiny import events_of, random_model

CONFIGS: dict[str, dict[str, Any]] = {
    "four parts": {},
    "256 levels": {
        "num_levels": 256, "event_shape": (1, 8, 8), "num_parts": 2, "num_components": 5,
    },
    "pixels themselves": {"num_levels": 256, "flow_steps": 0, "num_scales": 1, "num_groups": 2},
}  # fmt: skip
every_config = pytest.mark.parametrize("name", CONFIGS)


def _codec(name: str) -> tuple[Any, IntegerCodec]:
    model = random_model("idf", **CONFIGS[name])
    return model, IntegerCodec(model)


def _parts(codec: IntegerCodec, x: Tensor) -> list[tuple[Tensor, Any]]:
    """Latents and their mixtures on the grid."""
    model: Any = codec.model
    twin: Any = codec._twin
    levels = model.grid.levels(x).double()
    return [(z, codec._mixture(i, given)) for i, (z, given) in enumerate(twin.latents(levels))]


@every_config
def test_the_mixture_on_the_grid_is_the_prior(name: str) -> None:
    model, codec = _codec(name)
    x = events_of(model, 20)
    precise = model.precise()
    for index, (z, mixture) in enumerate(_parts(codec, x)):
        twin: Any = codec._twin
        given = twin.latents(model.grid.levels(x).double())[index].given
        mass = mixture.below(z[..., None] + 0.5) - mixture.below(z[..., None] - 0.5)
        found = mass[..., 0] / mixture.below(torch.full_like(z, math.inf)[..., None])[..., 0]
        expected = precise.prior(index, given).log_prob(z).exp()
        torch.testing.assert_close(found, expected, rtol=0.05, atol=1e-4)


@every_config
def test_every_symbol_has_its_share_of_the_total(name: str) -> None:
    model, codec = _codec(name)
    for z, mixture in _parts(codec, events_of(model, 5)):
        tables = [mixture.blocks(), *(mixture.inside(torch.full_like(z, b)) for b in (0, 16, 31))]
        for ends in tables:
            assert bool((ends[..., 0] == 0).all())
            assert bool((ends[..., -1] == TOTAL).all())
            assert float(ends.diff(dim=-1).min()) >= LEAST


def _round_trip(codec: IntegerCodec, levels: Tensor) -> tuple[bytes, Tensor]:
    writer = Writer()
    codec.write(levels, writer)
    code = writer.finish()
    words = words_of(torch.frombuffer(bytearray(code + bytes(8)), dtype=torch.uint8)[None].numpy())
    reader, kept = Reader(words[0]), codec.start(len(levels))
    found = torch.zeros_like(levels)
    for step in range(codec.num_steps):
        at = torch.full((len(levels),), step)
        changed, found = codec.read(kept, found, at, [(reader, slice(0, len(levels)))])
        kept = {**kept, **changed}
    return code, found


@every_config
def test_any_image_comes_back(name: str) -> None:
    """Noise, black and white: whatever the flow makes of it, and however far its latents escape."""
    model, codec = _codec(name)
    x = torch.cat(
        [events_of(model, 9), torch.zeros(1, *model.event_shape), torch.ones(1, *model.event_shape)]
    )
    levels = model.grid.levels(x).flatten(1)
    code, found = _round_trip(codec, levels)
    assert torch.equal(found, levels)
    asked = {"x": x, "seed": torch.zeros(len(x), dtype=torch.int64)}
    nats = -float(run(model.operations()["log_likelihood"], asked, NoParams())["log_prob"].sum())
    assert len(code) == pytest.approx(nats / math.log(2) / 8, rel=0.08)


def test_latents_far_from_their_mean_escape_and_come_back() -> None:
    model, codec = _codec("pixels themselves")
    for prior in model.priors:
        for parameter in prior.parameters():
            parameter.mul_(0.0)
    # Component means lie evenly over the levels: move them so far that all pixels escape.
    for prior in model.priors:
        bias = prior.exit.bias if hasattr(prior, "exit") else prior.place
        bias.view(3, -1).select(0, 1).fill_(200.0 if bias.ndim == 1 else 12.0)
    levels = model.grid.levels(events_of(model, 4)).flatten(1)
    parts = _parts(codec, model.grid.values(levels).view(-1, *model.event_shape))
    assert all(bool((z - mixture.first() < 0).all()) for z, mixture in parts)
    code, found = _round_trip(codec, levels)
    assert torch.equal(found, levels)
    assert len(code) >= 3 * levels.numel()


def test_latents_that_no_symbol_reaches_are_left_to_plain_levels() -> None:
    model, _ = _codec("four parts")
    x = events_of(model, SEGMENT)[None]
    rows = {"x": x, "num_images": torch.tensor([SEGMENT])}
    compress, decompress = (model.operations()[name] for name in ("compress", "decompress"))

    def write(*_: Any) -> None:
        raise OverflowError("too far")

    compress.codec.write = write
    codes = run(compress, rows, NoParams())
    assert int(codes["num_bytes"]) == compress.width
    found = run(decompress, {**codes, "num_images": rows["num_images"]}, NoParams())["x"]
    assert torch.equal(found, x)


@every_config
def test_company_changes_neither_bytes_nor_pixels(name: str) -> None:
    model, _ = _codec(name)
    counts = torch.tensor([3, 16, 1, 9])
    # The darkest images of a few levels have codes that are shorter than their levels, if any.
    x = (events_of(model, 4 * SEGMENT) * 0.1).view(4, SEGMENT, *model.event_shape)
    x = model.grid.values(model.grid.levels(x))
    compress, decompress = (model.operations()[name] for name in ("compress", "decompress"))
    rows: Rows = {"x": x, "num_images": counts}
    codes: Rows = {**run(compress, rows, NoParams()), "num_images": counts}
    for i in range(4):
        alone = run(compress, rows_at(rows, slice(i, i + 1)), NoParams())
        assert torch.equal(alone["code"], codes["code"][i : i + 1])
    requests = [(rows_at(codes, slice(i, i + 1)), NoParams()) for i in range(4)]
    for result, image, count in zip(
        in_company(decompress, requests), x, counts.tolist(), strict=True
    ):
        assert torch.equal(result["x"][0, :count], image[:count])
