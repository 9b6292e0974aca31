"""Requests that join and leave between steps against batches that run to completion.

The same engine, operations and arrivals; the second only takes requests while it is idle. Writes
the table and the plot of docs/step_batching.md.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.table import Table

from models.core.bundle.bundle import load
from models.core.bundle.onnx import OnnxFunction
from models.core.contract.model import Servable
from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation
from models.ddpm import Model
from service.engine.engine import Engine
from service.engine.messages import LaneKey, Submit
from service.engine.ticket import Observer, Ticket
from training.recipes.ddpm_fashion_mnist import RECIPE

ROOT = Path(__file__).parents[1]
PAGE, PLOT = ROOT / "docs" / "step_batching.md", ROOT / "docs" / "step_batching.png"
_BUNDLE = ROOT / "bundles" / "ddpm_fashion-mnist"
_LANE = LaneKey("ddpm", "sample")
_MAX_ROWS, _NUM_REQUESTS, _LOAD = 32, 64, 0.8
_SHORT, _LONG = 10, 1000
Way = Literal["step by step", "to completion"]
WAYS: tuple[Way, ...] = ("step by step", "to completion")
_MIX: tuple[dict[str, Any], ...] = (
    {"sampler": "dpm_solver_pp", "num_steps": 10},
    {"sampler": "dpm_solver_pp", "num_steps": 20},
    {"sampler": "ddim", "num_steps": 20},
    {"sampler": "ddim", "num_steps": 50, "eta": 0.5},
    {"sampler": "ancestral_posterior", "num_steps": 100},
    {"sampler": "ancestral_posterior", "num_steps": 250},
)


@dataclass(frozen=True)
class Request:
    """So many samples, asked for at a moment."""

    arrival_s: float
    num_rows: int
    seed: int
    params: Any


class Served(NamedTuple):
    """One run over all requests, by a clock that counts seconds of the processor and of waiting.

    So what else the machine does is not in it.
    """

    latencies_s: list[float]
    """In the order of the requests."""
    num_samples: int
    seconds: float
    batch_rows: float
    """Rows of a step, on average."""


def measure() -> Table:
    """Steps up to 250 in the mix, one round; writes the page in docs/."""
    return _measured(_MIX, 1)


def measure_long() -> Table:
    """Steps up to 1000 in the mix, three rounds; writes the page in docs/."""
    return _measured((*_MIX, {"sampler": "ancestral", "num_steps": _LONG}), 3)


@torch.no_grad()
def _measured(mix: tuple[dict[str, Any], ...], num_rounds: int) -> Table:
    torch.set_num_threads(1)
    model, what = _model()
    operation = model.operations()["sample"]
    row_step_s = _row_step_s(operation)
    crowd = [list(_crowd(operation, mix, row_step_s, seed)) for seed in range(num_rounds)]
    mixed = {way: [_serve(operation, requests, way) for requests in crowd] for way in WAYS}
    beside = list(_beside(operation, row_step_s))
    fair = {way: _serve(operation, beside, way).latencies_s for way in WAYS}
    rows = list(_figures(mixed, fair))
    _write_page(what, rows, crowd, mixed)
    table = Table("", *WAYS, "ratio", title=what)
    for row in rows:
        table.add_row(*row)
    return table


def _model() -> tuple[Servable, str]:
    """The shipped one, or one of its size that has learnt nothing, which takes as long."""
    if (_BUNDLE / "bundle.json").exists():
        bundle = load(_BUNDLE)
        model = bundle.build()
        for name, graph in bundle.graphs.items():
            model.use(name, OnnxFunction(graph, 1))
        return model, f"{bundle.name}, ONNX Runtime, one thread"
    torch.manual_seed(0)
    model = Model(replace(RECIPE.config, event_shape=(1, 28, 28), num_classes=10))
    model.eval().requires_grad_(False)
    return model, "a DDPM of the size of ddpm_fashion-mnist, torch, one thread"


def _row_step_s(operation: Operation[Any]) -> float:
    """Processor seconds of a step for each row of a half full batch."""
    rows = operation.init({"seed": row_seeds(0, _MAX_ROWS // 2)}, operation.default_params)
    times = []
    for _ in range(4):
        start = time.process_time()
        rows = operation.step(rows)
        times.append(time.process_time() - start)
    return min(times) / (_MAX_ROWS // 2)


def _crowd(
    operation: Operation[Any], mix: tuple[dict[str, Any], ...], row_step_s: float, seed: int
) -> Iterator[Request]:
    """A Poisson process that would keep a half full batch busy for a share _LOAD of the time."""
    draw = np.random.default_rng(seed)
    params = [replace(operation.default_params, **settings) for settings in mix]
    mean_steps = float(np.mean([operation.num_steps(p) for p in params]))
    gap_s = mean_steps * 2.5 * row_step_s / _LOAD
    arrival_s = 0.0
    for i in range(_NUM_REQUESTS):
        yield Request(arrival_s, int(draw.integers(1, 5)), i, params[draw.integers(len(params))])
        arrival_s += float(draw.exponential(gap_s))


def _beside(operation: Operation[Any], row_step_s: float) -> Iterator[Request]:
    """A long request of four samples, and short ones of one while it runs."""
    long, short = (replace(operation.default_params, num_steps=n) for n in (_LONG, _SHORT))
    yield Request(0.0, 4, 0, long)
    for i in range(1, 10):
        yield Request(i / 10 * _LONG * 4 * row_step_s, 1, i, short)


def _serve(operation: Operation[Any], requests: list[Request], way: Way) -> Served:
    sizes = _Sizes()
    engine = Engine(sizes)
    engine.open(_LANE, operation, _MAX_ROWS)
    now_s, latencies_s, waiting = 0.0, [0.0] * len(requests), deque(enumerate(requests))
    inside: list[tuple[int, Ticket]] = []
    while waiting or inside:
        if way == "step by step" or not inside:
            room = _MAX_ROWS
            while waiting and waiting[0][1].arrival_s <= now_s:
                room -= waiting[0][1].num_rows
                if way == "to completion" and room < 0:
                    break
                i, request = waiting.popleft()
                inputs = {"seed": row_seeds(request.seed, request.num_rows)}
                tickets = engine.tickets(Submit(0, _LANE, inputs, request.params))
                engine.submit(tickets)
                inside += [(i, ticket) for ticket in tickets]
        start = time.process_time()
        busy = engine.tick()
        now_s += time.process_time() - start
        if not busy:
            now_s = max(now_s, waiting[0][1].arrival_s)
            continue
        for i, ticket in inside:
            if ticket.result.done():
                ticket.result.result()
                latencies_s[i] = now_s - requests[i].arrival_s
        inside = [(i, ticket) for i, ticket in inside if not ticket.result.done()]
    num_samples = sum(request.num_rows for request in requests)
    return Served(latencies_s, num_samples, now_s, float(np.mean(sizes.rows)))


class _Sizes(Observer):
    """Keeps the size of every step."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def stepped(self, lane: LaneKey, num_rows: int) -> None:
        self.rows.append(num_rows)


def _figures(
    mixed: dict[Way, list[Served]], fair: dict[Way, list[float]]
) -> Iterator[tuple[str, ...]]:
    """Name, the figure of each way, and how many times better it is step by step."""

    def over_rounds(figure: Callable[[Served], float]) -> tuple[float, float]:
        ours, theirs = (float(np.median([figure(one) for one in mixed[way]])) for way in WAYS)
        return ours, theirs

    for q in (50, 99):
        ours, theirs = over_rounds(partial(_percentile, q=q))
        yield f"p{q} latency, s", f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}"
    ours, theirs = over_rounds(lambda one: one.num_samples / one.seconds)
    yield "samples/s", f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}"
    ours, theirs = over_rounds(lambda one: one.batch_rows)
    yield "rows of a step", f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}"
    name = f"{_SHORT} steps while {_LONG} run, s"
    ours, theirs = (float(np.median(fair[way][1:])) for way in WAYS)
    yield name, f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}"
    ours, theirs = (fair[way][0] for way in WAYS)
    yield f"those {_LONG} steps, s", f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}"


def _percentile(served: Served, q: int) -> float:
    return float(np.percentile(served.latencies_s, q))


def _write_page(
    what: str,
    rows: list[tuple[str, ...]],
    crowd: list[list[Request]],
    mixed: dict[Way, list[Served]],
) -> None:
    head = (what, *WAYS, "ratio")
    table = "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
    text = PAGE.read_text(encoding="utf-8")
    mark = "<!-- {} of what make bench writes -->"
    begin, end = mark.format("beginning"), mark.format("end")
    new, num = re.subn(f"{begin}.*{end}", f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    assert num == 1, f"{PAGE} has lost its marks"
    PAGE.write_text(new, encoding="utf-8")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for way, colour, shift in zip(WAYS, ("tab:blue", "silver"), (0.96, 1.04), strict=True):
        num_steps = [shift * one.params.num_steps for requests in crowd for one in requests]
        latencies_s = [latency for served in mixed[way] for latency in served.latencies_s]
        axes.scatter(num_steps, latencies_s, s=14, color=colour, label=way)
    axes.set(xscale="log", yscale="log", xlabel="steps asked for", ylabel="latency, s")
    axes.legend()
    figure.savefig(PLOT, dpi=100)
