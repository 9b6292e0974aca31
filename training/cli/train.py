"""The command `train`: from a recipe, with settings changed, to a bundle on the shelf."""

import logging
import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.cli.targets import OWN, check_bundle
from training.data.splits import DataError
from training.fit.recipe import recipe, recipes
from training.fit.trainer import Diverged
from training.pipeline.make import make
from training.pipeline.make_screen import make_screen
from training.pipeline.screen_recipe import ScreenRecipe, screen_recipe, screen_recipes

Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where the bundle's folder goes, if not bundles/ under the name of a recipe, "
        f"and {OWN}/ under another."
    ),
]
Runs = Annotated[Path, typer.Option(help="Where a run keeps its state, to go on if cut off.")]
Name = Annotated[str, typer.Option(help="The bundle's name, if not the recipe's.")]

_ON_OWN_DATA = ("jem_folder",)
"""Recipes of which no bundle ships."""


def train(
    recipe_name: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help=f"One of: {', '.join((*recipes(), *screen_recipes()))}."
        ),
    ],
    settings: Settings = [],  # noqa: B006, typer reads the default and does not share it
    out: Out = None,
    runs: Runs = Path("runs"),
    name: Name = "",
) -> None:
    """Train a model, or the parts of a screen, measure it on its untouched test split and write a
    bundle."""
    console = Console(stderr=True, markup=False)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
    command = f"python -m training {recipe_name}"
    command += "".join(f" --set {shlex.quote(setting)}" for setting in settings)
    title = name or recipe_name
    if out is None:
        out = OWN if name or recipe_name in _ON_OWN_DATA else Path("bundles")
    try:
        check_bundle(out, title)
        changes = dict(_pair(text) for text in settings)
        if recipe_name in screen_recipes():
            path = make_screen(title, _screen(recipe_name, changes), runs, out, command)
        else:
            path = make(title, recipe(recipe_name).changed(changes), runs, out, command)
    except (DataError, ValueError, Diverged) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    console.print(f"Bundle written to {path}", highlight=False)


def _screen(name: str, changes: dict[str, str]) -> ScreenRecipe:
    """The screen's recipe with another seed. Raises ValueError for any other setting."""
    if unknown := set(changes) - {"seed"}:
        raise ValueError(f"settings {sorted(unknown)} of a screen: accepted is seed")
    if not changes.get("seed", "0").isdecimal():
        raise ValueError(f"seed={changes['seed']}: accepted are whole numbers from 0")
    return replace(screen_recipe(name), seed=int(changes.get("seed", "0")))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text!r}: accepted is KEY=VALUE")
    return key, value
