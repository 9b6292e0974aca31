"""Thousands of broken pictures, as uploads and as a folder that is screened: none may be an error.

python -m benchmarks mutants [--num 20000] [--seed 0] [--model jem_fashion-mnist]
"""

import argparse
import asyncio
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.mutant_pictures import mutants
from models.core.bundle import bundle
from service.app import create_app
from service.logs import configure
from service.settings import Settings
from training.data.folder import files_below
from training.ood.bulk import screen_files
from training.ood.scorer import Scorer

_BUNDLES = Path(__file__).parents[1] / "bundles"
_BATCH = 64
_OCTETS = {"content-type": "application/octet-stream"}


def main(arguments: list[str]) -> None:
    """Prints how many were answered how. Exits with 1 if any was an error or had no row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks mutants", description=__doc__)
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="jem_fashion-mnist")
    options = parser.parse_args(arguments)
    # Pillow warns of damage that it then reads over.
    warnings.simplefilter("ignore", UserWarning)
    configure("error")
    answers, longest = asyncio.run(_uploaded(options.num, options.seed, options.model))
    rows = _screened(options.num, options.seed, options.model)
    table = Table("how", "what became of it", "pictures", title=f"{options.num} mutants")
    for status, num in sorted(answers.items()):
        table.add_row("upload", str(status), str(num))
    for outcome, num in sorted(rows.items()):
        table.add_row("bulk", outcome, str(num))
    console = Console()
    console.print(table, f"longest answer to an upload: {longest * 1000:.0f} ms")
    wrong = sum(num for status, num in answers.items() if status not in (200, 413, 422))
    if wrong or rows.total() != options.num:
        raise SystemExit(f"{wrong} errors, {options.num - rows.total()} without a row")


async def _uploaded(num: int, seed: int, model: str) -> tuple[Counter[int], float]:
    """How many had which status, and the longest wait, s."""
    answers, longest = Counter[int](), 0.0
    settings = Settings(bundles=(str(_BUNDLES / model),), default_model=model, log_level="error")
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        await app.state.service.loading
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://mutants") as client:
            for _, data in track(mutants(num, seed), "uploads", total=num):
                start = time.perf_counter()
                # An empty body is no picture and has an answer of its own.
                reply = await client.post("/energy", content=data or b"\0", headers=_OCTETS)
                longest = max(longest, time.perf_counter() - start)
                answers[reply.status_code] += 1
    return answers, longest


def _screened(num: int, seed: int, model: str) -> Counter[str]:
    """How many had a row of which kind."""
    scorer = Scorer(bundle.load(_BUNDLES / model))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, data in mutants(num, seed):
            (folder / name).write_bytes(data)
        verdicts = screen_files(scorer, folder, files_below(folder), 0.05, _BATCH)
    return Counter(verdict.status for verdict in verdicts)
