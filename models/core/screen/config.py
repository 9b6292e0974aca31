"""What a screen is made of: its parts, which are models, and its components, which are scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Part:
    """A model within a screen."""

    name: str
    family: str
    config: Mapping[str, Any]
    source: str = ""
    """The bundle or the recipe that it comes from."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A score of one part, or of a part against a background."""

    score: str
    """A name of SCORES."""
    part: str
    background: str = ""
    num_references: int = 0
    """Numbers that the score was fitted with."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Parts and components; as dictionaries where they come from JSON."""

    event_shape: tuple[int, ...]
    parts: tuple[Any, ...]
    components: tuple[Any, ...]
    classifier: str = ""
    """The part that says the class; empty: none does."""
    num_classes: int = 0
    screens: tuple[str, ...] = ()
    """Bundles whose classifications this screen is for."""
    num_knots: int = 129
    num_fitted: int = 0
    """Images that references and z-values were fitted to; 0: not yet."""

    @property
    def all_parts(self) -> list[Part]:
        """The parts, whatever they were given as."""
        return [p if isinstance(p, Part) else Part(**p) for p in self.parts]

    @property
    def all_components(self) -> list[Component]:
        """The components, whatever they were given as."""
        return [c if isinstance(c, Component) else Component(**c) for c in self.components]
