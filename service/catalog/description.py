"""What is known of a loaded model apart from the model: data, made once when it is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.contract.grid import Grid
from models.core.contract.likelihood import Likelihood
from service.catalog.runtimes import Backend
from service.engine.messages import LaneKey
from service.errors import UnsupportedOperation


@dataclass(frozen=True, eq=False)
class OperationDescription:
    """What an operation takes and gives; see `Operation` for what the names mean."""

    lane: LaneKey
    params: type[Any]
    """The dataclass of its params."""
    default_params: Any
    default_kind: Likelihood | None
    """What its number is with these."""
    outputs: tuple[str, ...]
    graphs: tuple[str, ...]
    needs_events: bool
    needs_latents: bool
    takes_label: bool
    shares_seed: bool
    stops_early: bool


@dataclass(frozen=True, eq=False)
class ModelDescription:
    """What a bundle and its model say of themselves."""

    name: str
    version: str
    family: str
    is_screen: bool
    """Whether it was made to say how strange events are."""
    screens: tuple[str, ...]
    """The models whose classifications a screen was made for, by name."""
    components: tuple[str, ...]
    """The scores that a screen combines, in the order of its columns z and scores."""
    event_shape: tuple[int, ...]
    latent_shape: tuple[int, ...] | None
    grid: Grid | None
    class_names: tuple[str, ...]
    """One name per class; a bundle without names counts them."""
    likelihood: Likelihood | None
    preprocessing: Preprocessing | None
    """How pictures become events; None for vectors."""
    feature_names: tuple[str, ...]
    calibrations: Mapping[str, Calibration]
    calibration_source: str
    metrics: Mapping[str, float]
    provenance: Mapping[str, str]
    operations: Mapping[str, OperationDescription]
    backends: Mapping[str, Backend]
    """By graph name."""

    @property
    def label(self) -> str:
        """name@version, as every answer says it."""
        return f"{self.name}@{self.version}"

    @property
    def num_dims(self) -> int:
        """Event size D."""
        return prod(self.event_shape)

    @property
    def takes_images(self) -> bool:
        """Whether events are images (C, H, W), not vectors."""
        return len(self.event_shape) == 3

    def operation(self, name: str) -> OperationDescription:
        """Raises UnsupportedOperation, naming what the model can do."""
        if name not in self.operations:
            raise UnsupportedOperation(
                f"model {self.name} has no operation {name}: it has {', '.join(self.operations)}"
            )
        return self.operations[name]
