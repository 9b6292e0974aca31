"""The models on the shelf, as descriptions: by name, by default, and which screen is for which."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from service.catalog.description import ModelDescription
from service.catalog.locations import folder_of
from service.errors import UnknownModel


@dataclass(frozen=True)
class Catalog:
    """All models that could be loaded, described, and why the others could not."""

    models: Mapping[str, ModelDescription]
    failed: Mapping[str, str]
    default: str
    default_screen: str = ""
    """The screen of those that ask how strange something is and name no model."""

    def find(self, name: str | None) -> ModelDescription:
        """By name or name@version; None is the default. Raises UnknownModel."""
        bare = (name or self.default).partition("@")[0]
        model = self.models.get(bare)
        if model is None or (name and "@" in name and name != model.label):
            if not model and (why := self._why_not(bare)):
                raise UnknownModel(f"model {bare!r} could not be loaded: {why}")
            known = ", ".join(model.label for model in self.models.values())
            raise UnknownModel(f"model {(name or bare)[:128]!r} is not loaded: there are {known}")
        return model

    def find_screen(self, name: str | None) -> ModelDescription:
        """A model of this name; None is the default screen or, if there is none of that name, the
        screen that decides about the default model's classifications, or else that model itself.

        One that is there and could not be loaded is missed: another model would pass what it stops.
        """
        if name:
            return self.find(name)
        if self.default_screen in self.models or self._why_not(self.default_screen):
            return self.find(self.default_screen)
        default = self.find(None)
        return self.screen_of(default) or default

    @cached_property
    def screens_by_default(self) -> ModelDescription | None:
        """What answers how strange something is where no model is named, if anything does."""
        try:
            return self.find_screen(None)
        except UnknownModel:
            return None

    def _why_not(self, name: str) -> str:
        """Why a bundle could not be loaded; empty if it could, or is not there."""
        reasons = (why for url, why in self.failed.items() if folder_of(url) == name)
        return next(reasons, "")

    def screen_of(self, model: ModelDescription) -> ModelDescription | None:
        """The screen that decides about a model's classifications, if there is one."""
        return model if model.is_screen else self._screens.get(model.name)

    @cached_property
    def _screens(self) -> dict[str, ModelDescription]:
        """By the name of the model that they were made for; the default screen goes first."""
        by_name: dict[str, ModelDescription] = {}
        screens = [model for model in self.models.values() if model.is_screen]
        for screen in sorted(screens, key=lambda s: s.name != self.default_screen):
            for name in screen.screens:
                by_name.setdefault(name, screen)
        return by_name
