"""Everything that makes a screen of trained models, as data."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.core.screen.config import Component
from training.fit.recipe import SCREENS, Recipe, recipe


@dataclass(frozen=True, kw_only=True)
class ScreenRecipe:
    """The parts by their recipes, and the scores that are added up."""

    parts: Mapping[str, str]
    """Recipe by part; the first says the data set and the form of the images."""
    components: tuple[Component, ...]
    classifier: str = ""
    """The part that says the class; empty: none does."""
    screens: tuple[str, ...] = ()
    """Bundles whose classifications the screen is for."""
    seed: int = 0
    """Seed of the parts that are trained for the screen."""

    @property
    def base(self) -> Recipe:
        """The recipe that says what the images are."""
        return recipe(next(iter(self.parts.values())))


def screen_recipes() -> tuple[str, ...]:
    """Names of all screens, as the command takes them."""
    folder = Path(__file__).parents[1] / "recipes"
    stems = sorted(p.stem.removeprefix(SCREENS) for p in folder.glob(f"{SCREENS}*.py"))
    return tuple(f"{SCREENS}{stem.replace('_', '-')}" for stem in stems)


def screen_recipe(name: str) -> ScreenRecipe:
    """The screen of that name. Raises ValueError if there is none."""
    if name not in screen_recipes():
        raise ValueError(f"unknown screen {name!r}: accepted are {', '.join(screen_recipes())}")
    module = importlib.import_module(f"training.recipes.{name.replace('-', '_')}")
    shipped: ScreenRecipe = module.RECIPE
    return shipped
