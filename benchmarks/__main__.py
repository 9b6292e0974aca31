"""Run the measurements: python -m benchmarks [NAME ...]; replay and mutants have own arguments."""

import sys

from rich.console import Console

from benchmarks import (
    backends,
    compression,
    group_order,
    maf_inversion,
    mutants,
    overview,
    pixelcnn_sampling,
    replay,
    screen_guarantees,
    screen_latency,
    screening,
    step_batching,
)

BENCHMARKS = {
    "backends": backends.run,
    "compression": compression.measure,
    "compression_of_all": compression.measure_all,
    "group_order": group_order.run,
    "maf_inversion": maf_inversion.run,
    "overview": overview.draw,
    "pixelcnn_sampling": pixelcnn_sampling.run,
    "screen_guarantees": screen_guarantees.run,
    "screen_latency": screen_latency.run,
    "screening": screening.run,
    "step_batching": step_batching.measure,
    "step_batching_long": step_batching.measure_long,
}
LONG = ("compression_of_all", "group_order", "step_batching_long")
"""Which are run only where they are named."""
WITH_ARGUMENTS = {"mutants": mutants.main, "replay": replay.main}
"""What takes the rest of the command line, and is run alone."""


def main(names: list[str]) -> None:
    """Run the named measurements, or all that are not long."""
    if names and names[0] in WITH_ARGUMENTS:
        WITH_ARGUMENTS[names[0]](names[1:])
        return
    console = Console()
    if unknown := set(names) - set(BENCHMARKS):
        console.print(
            f"unknown: {sorted(unknown)}; accepted are {sorted({*BENCHMARKS, *WITH_ARGUMENTS})}"
        )
        raise SystemExit(1)
    for name in names or [name for name in BENCHMARKS if name not in LONG]:
        console.print(BENCHMARKS[name]())


if __name__ == "__main__":
    main(sys.argv[1:])
