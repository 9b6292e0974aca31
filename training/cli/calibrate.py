"""The command that calibrates for other images: python -m training calibrate BUNDLE FOLDER."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from models.core.bundle.bundle import BundleError, load, save
from training.cli.targets import OWN, check_bundle
from training.data.readers import DataError
from training.pipeline.recalibrate import card, new_name, recalibrate


def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="In-distribution images of your own.")
    ],
    out: Annotated[Path, typer.Option(help="Where the new bundle's folder goes.")] = OWN,
    name: Annotated[str, typer.Option(help="Its name, if not BUNDLE-FOLDER.")] = "",
    alpha: Annotated[float, typer.Option(help="Rate of false alarms that it must allow.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of the draw of the two halves.")] = 0,
) -> None:
    """Make a new bundle whose p-values are about your own images; the weights stay."""
    console = Console(stderr=True, markup=False)
    try:
        loaded = load(bundle)
        title = new_name(loaded, folder, name)
        check_bundle(out, title)
        path = out / title
        if path.exists():
            raise ValueError(f"{path} exists: name another by --name")
        with console.status("") as status:
            calibrated = recalibrate(
                loaded,
                folder,
                name=name,
                alpha=alpha,
                seed=seed,
                advance=lambda what, num: status.update(f"{what} {num:,} images"),
            )
        text = card(calibrated, tuple(calibrated.calibrations))
        save(calibrated, path, {"README.md": text.encode()})
    except (DataError, BundleError, ValueError) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    console.print(f"Calibrated on {calibrated.calibration_source}", highlight=False)
    console.print(f"Bundle written to {path}", highlight=False)
