"""Run the measurements: python -m benchmarks [NAME ...]."""

import sys

from rich.console import Console

from benchmarks import backends, maf_inversion, pixelcnn_sampling, screening

BENCHMARKS = {
    "backends": backends.run,
    "maf_inversion": maf_inversion.run,
    "pixelcnn_sampling": pixelcnn_sampling.run,
    "screening": screening.run,
}


def main(names: list[str]) -> None:
    """Run the named measurements, or all of them."""
    console = Console()
    if unknown := set(names) - set(BENCHMARKS):
        console.print(f"unknown: {sorted(unknown)}; accepted are {sorted(BENCHMARKS)}")
        raise SystemExit(1)
    for name in names or BENCHMARKS:
        console.print(BENCHMARKS[name]())


if __name__ == "__main__":
    main(sys.argv[1:])
