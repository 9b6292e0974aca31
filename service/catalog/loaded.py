"""A bundle as the worker runs it: built, checked and warm, and described for everybody else."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from models.core.bundle.bundle import Bundle
from models.core.contract.grid import NUM_LEVELS
from models.core.contract.model import Servable
from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation, run
from models.core.contract.rows import Rows
from models.core.ood.register import check_known
from service.catalog.description import ModelDescription, OperationDescription
from service.catalog.row_cost import row_ms
from service.catalog.runtimes import Backend, choose
from service.engine.messages import LaneKey


@dataclass(frozen=True)
class LoadedModel:
    """A live model; it stays with the worker."""

    bundle: Bundle
    model: Servable
    operations: Mapping[str, Operation[Any]]
    backends: Mapping[str, Backend]
    """By graph name."""
    row_ms: Mapping[str, float]
    """What a row whose step is of work 1 adds to a step, by operation, in ms."""

    def lane(self, operation: str) -> LaneKey:
        """Where the engine runs an operation of this model."""
        return LaneKey(f"{self.bundle.name}@{self.bundle.version}", operation)

    def max_work(self, operation: str, max_step_ms: float) -> float:
        """How much work a step of this operation may take, by the measured cost of a row."""
        return max_step_ms / self.row_ms[operation]

    def describe(self) -> ModelDescription:
        """All that can be known of the model without it."""
        bundle, model = self.bundle, self.model
        is_screen = bundle.kind == "screen"
        components = bundle.config["components"] if is_screen else ()
        return ModelDescription(
            name=bundle.name,
            version=bundle.version,
            family=bundle.family,
            is_screen=is_screen,
            screens=tuple(bundle.config.get("screens", ())),
            components=tuple(component["score"] for component in components),
            event_shape=model.event_shape,
            latent_shape=model.latent_shape,
            grid=model.grid,
            class_names=bundle.class_names or tuple(map(str, range(model.num_classes))),
            likelihood=model.likelihood,
            preprocessing=bundle.preprocessing if len(model.event_shape) == 3 else None,
            feature_names=bundle.feature_names,
            calibrations=bundle.calibrations,
            calibration_source=bundle.calibration_source,
            metrics=bundle.metrics,
            provenance=bundle.provenance,
            operations={name: self._operation(name) for name in self.operations},
            backends=self.backends,
        )

    def _operation(self, name: str) -> OperationDescription:
        operation = self.operations[name]
        defaults = operation.default_params
        return OperationDescription(
            lane=self.lane(name),
            params=operation.Params,
            default_params=defaults,
            default_kind=operation.kind(defaults),
            outputs=tuple(operation.outputs),
            graphs=operation.graphs,
            needs_events=operation.needs_events,
            needs_latents=operation.needs_latents,
            takes_label=operation.takes_label,
            shares_seed=operation.shares_seed,
            stops_early=operation.stops_early,
        )


def shelve(bundle: Bundle, backend: str = "torch", num_threads: int = 1) -> LoadedModel:
    """Build a bundle's model, choose its backends and run every operation once.

    Raises ValueError if the bundle is not sound.
    """
    check_known(bundle.calibrations)
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
        model.check_runtimes()
        operations = model.operations()
        costs: dict[str, float] = {}
        for name, operation in operations.items():
            for params in operation.examples:
                inputs = _example(model, operation, params)
                run(operation, inputs, params)
                cost = row_ms(operation, inputs, params) / operation.step_work(params)
                costs[name] = max(costs.get(name, 0.0), cost)
    return LoadedModel(bundle, model, operations, backends, costs)


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
