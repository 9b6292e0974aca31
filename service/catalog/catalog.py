"""The models on the shelf: finds bundles, builds, checks and warms them, and looks them up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch

from models.core.bundle.bundle import Bundle, load
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.grid import NUM_LEVELS
from models.core.contract.model import Servable
from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation, run
from models.core.contract.rows import Rows
from service.catalog.locations import bundles_at, folder_of
from service.catalog.row_cost import row_ms
from service.catalog.runtimes import Backend, choose
from service.engine.ticket import LaneKey
from service.errors import UnknownModel, UnsupportedOperation


@dataclass(frozen=True)
class Served:
    """One bundle as it is served: built, checked and warm."""

    bundle: Bundle
    model: Servable
    operations: Mapping[str, Operation[Any]]
    backends: Mapping[str, Backend]
    """By graph name."""
    row_ms: Mapping[str, float]
    """What a row adds to a step, by operation, in ms."""

    @property
    def label(self) -> str:
        """name@version, as every answer says it."""
        return f"{self.bundle.name}@{self.bundle.version}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class; a bundle without names counts them."""
        return self.bundle.class_names or tuple(map(str, range(self.model.num_classes)))

    @property
    def takes_images(self) -> bool:
        """Whether events are images (C, H, W), not vectors."""
        return len(self.model.event_shape) == 3

    @property
    def is_screen(self) -> bool:
        """Whether it was made to say how strange events are."""
        return self.bundle.kind == "screen"

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pictures become events; None for vectors."""
        return self.bundle.preprocessing if self.takes_images else None

    def lane(self, operation: str) -> LaneKey:
        """Where the engine runs an operation of this model."""
        return LaneKey(self.label, operation)

    def max_rows(self, operation: str, max_rows: int, max_step_ms: float) -> int:
        """How many rows a step of this operation may take, by the measured cost of a row."""
        return max(1, min(max_rows, int(max_step_ms / self.row_ms[operation])))

    def operation(self, name: str) -> Operation[Any]:
        """Raises UnsupportedOperation, naming what the model can do."""
        if name not in self.operations:
            raise UnsupportedOperation(
                f"model {self.bundle.name} has no operation {name}: "
                f"it has {', '.join(self.operations)}"
            )
        return self.operations[name]


@dataclass(frozen=True)
class Store:
    """All models that could be loaded, and why the others could not."""

    models: Mapping[str, Served]
    failed: Mapping[str, str]
    default: str
    default_screen: str = ""
    """Of those that ask how strange something is and name no model."""

    def find(self, name: str | None) -> Served:
        """By name or name@version; None is the default. Raises UnknownModel."""
        bare = (name or self.default).partition("@")[0]
        served = self.models.get(bare)
        if served is None or (name and "@" in name and name != served.label):
            if not served and (why := self._why_not(bare)):
                raise UnknownModel(f"model {bare!r} could not be loaded: {why}")
            known = ", ".join(served.label for served in self.models.values())
            raise UnknownModel(f"model {name!r} is not loaded: there are {known}")
        return served

    def find_screen(self, name: str | None) -> Served:
        """The same, None being the default screen; if there is none of that name, the one that
        decides about the default model's classifications, or else that model.

        One that is there and could not be loaded is missed: another model would pass what it stops.
        """
        if name:
            return self.find(name)
        if self.default_screen in self.models or self._why_not(self.default_screen):
            return self.find(self.default_screen)
        default = self.find(None)
        return self.screen_of(default) or default

    @cached_property
    def screens_by_default(self) -> Served | None:
        """What answers how strange something is where no model is named, if anything does."""
        try:
            return self.find_screen(None)
        except UnknownModel:
            return None

    def _why_not(self, name: str) -> str:
        """Why a bundle could not be loaded; empty if it could, or is not there."""
        reasons = (why for url, why in self.failed.items() if folder_of(url) == name)
        return next(reasons, "")

    def screen_of(self, served: Served) -> Served | None:
        """The screen that decides about a model's classifications, if there is one."""
        return served if served.is_screen else self._screens.get(served.bundle.name)

    @cached_property
    def _screens(self) -> dict[str, Served]:
        """By the name of the model that they were made for; the default screen goes first."""
        found: dict[str, Served] = {}
        screens = [served for served in self.models.values() if served.is_screen]
        for served in sorted(screens, key=lambda s: s.bundle.name != self.default_screen):
            for name in served.bundle.config.get("screens", ()):
                found.setdefault(name, served)
        return found


def fill(
    urls: tuple[str, ...],
    default: str,
    backend: str,
    num_threads: int,
    report: Callable[[str, Exception], None],
    default_screen: str = "",
) -> Store:
    """Load every bundle that is found; a damaged one is reported and left out.

    Call it on the thread that will run the models.
    """
    models: dict[str, Served] = {}
    failed: dict[str, str] = {}
    for url in urls:
        try:
            for found in bundles_at(url):
                try:
                    served = shelve(load(found), backend, num_threads)
                    if served.bundle.name in models:
                        raise ValueError(f"another bundle is named {served.bundle.name} too")
                    models[served.bundle.name] = served
                except Exception as error:  # whatever is wrong with it, the others can be served
                    failed[found] = str(error)
                    report(found, error)
        except (OSError, ValueError) as error:
            failed[url] = str(error)
            report(url, error)
    first = default if default in models else next(iter(models), default)
    return Store(models, failed, first, default_screen)


def shelve(bundle: Bundle, backend: str = "torch", num_threads: int = 1) -> Served:
    """Build a bundle's model, choose its backends and run every operation once.

    Raises ValueError if the bundle is not sound.
    """
    model = bundle.build()
    if len(model.event_shape) == 3:
        _check_preprocessing(bundle, model)
    elif bundle.feature_names and len(bundle.feature_names) != model.num_dims:
        raise ValueError(f"{len(bundle.feature_names)} feature names, {model.num_dims} features")
    if bundle.class_names and len(bundle.class_names) != model.num_classes:
        raise ValueError(f"{len(bundle.class_names)} class names, {model.num_classes} classes")
    with torch.no_grad():
        # What a screen was calibrated with also serves it, whichever is faster by a hair today.
        wish = "onnx" if bundle.kind == "screen" and backend == "auto" else backend
        backends = choose(model, bundle.graphs, wish, num_threads)
        model.settle()
        operations = model.operations()
        costs: dict[str, float] = {}
        for name, operation in operations.items():
            for params in operation.examples:
                inputs = _example(model, operation, params)
                run(operation, inputs, params)
                costs[name] = max(costs.get(name, 0.0), row_ms(operation, inputs, params))
    return Served(bundle, model, operations, backends, costs)


def _check_preprocessing(bundle: Bundle, model: Servable) -> None:
    form = bundle.preprocessing
    if form is None:
        raise ValueError("the model takes images, and the bundle says not how to make them")
    shape = (form.channels, form.height, form.width)
    if shape != model.event_shape:
        raise ValueError(
            f"preprocessing makes images of {shape}, the model takes {model.event_shape}"
        )
    levels = model.grid.num_levels if model.grid else NUM_LEVELS
    if form.levels != levels:
        raise ValueError(f"preprocessing leaves {form.levels} grey levels, the model has {levels}")


def _example(model: Servable, operation: Operation[Any], params: Any) -> Rows:
    """One row of the inputs that an operation accepts with these params. Raises ValueError."""
    rows = {"seed": row_seeds(0, 1)}
    takes_label = operation.takes_label and model.num_classes > 0
    labels = [{"label": torch.full((1,), label)} for label in (-1, 0)] if takes_label else [{}]
    if own := operation.own_inputs(1):
        return {**rows, **labels[0], **own}
    if operation.needs_latents:
        assert model.latent_shape is not None
        rows["z"] = torch.zeros(1, *model.latent_shape)
    x = torch.full((1, *model.event_shape), 0.5)
    events = {"x": model.grid.values(model.grid.levels(x)) if model.grid else x}
    refused = ""
    for label, more in product(labels, (events, {})):
        try:
            operation.check({**rows, **label, **more}, params)
        except ValueError as error:
            refused = str(error)
        else:
            return {**rows, **label, **more}
    raise ValueError(refused)
