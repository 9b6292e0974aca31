"""What is served and what is trained: models that declare what they can do."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.core.contract.graph import Graph
from models.core.contract.grid import Grid
from models.core.contract.likelihood import Likelihood
from models.core.contract.notes import Notes
from models.core.contract.operation import Operation

Backend = Callable[..., tuple[Tensor, ...]]
"""Another way to run one of a model's graphs: the same tensors in, the same tensors out."""


class Servable(nn.Module, ABC):
    """What can be asked about events x: images (C, H, W) in [0, 1], or vectors (D,).

    Shape letters: B rows, C H W image, D event size, K classes.
    """

    likelihood: Likelihood | None = None
    """What the number is that log_likelihood gives by default; None without one."""
    event_shape: tuple[int, ...]
    latent_shape: tuple[int, ...] | None = None
    """The shape of z; None for models that do not encode and decode."""
    grid: Grid | None = None
    """The values that events can take; None if they are continuous."""
    num_classes: int = 0

    def __init__(self) -> None:
        super().__init__()
        self._backends: dict[str, Backend] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def num_parameters(self) -> int:
        """Numbers that training sets."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def num_dims(self) -> int:
        """Event size D."""
        return int(torch.Size(self.event_shape).numel())

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores that operation `screen` gives side by side; none without one."""
        return ()

    @abstractmethod
    def operations(self) -> Mapping[str, Operation[Any]]:
        """What can be served: sample, log_likelihood, energy, classify, ..."""

    def graphs(self) -> Mapping[str, Graph]:
        """Pure tensor functions that may be exported and run elsewhere."""
        return {}

    def use(self, name: str, backend: Backend | None) -> None:
        """Run graph `name` by `backend` from now on; None goes back to torch."""
        if backend is None:
            self._backends.pop(name, None)
        else:
            self._backends[name] = backend

    def compute(self, name: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs of graph `name`, by the backend in use."""
        backend = self._backends.get(name)
        return backend(*tensors) if backend else self.graphs()[name].function(*tensors)

    def check_runtimes(self) -> None:
        """See that the backends in use, once they are chosen, give what calibration saw.

        Raises ValueError if they do not.
        """
        return


class GenerativeModel(Servable):
    """A density over events that declares what it can do.

    A family is one file with a `Config`, whose defaults are tiny, a `Model(config)`, and its
    operations.
    """

    likelihood: Likelihood
    own_figures: tuple[str, ...] = ()
    """Names of the measurements that only models of its kind allow."""

    def notes(self) -> Notes:
        """How a person should read the model's figures and pictures."""
        return Notes()

    def initialise(self, x: Tensor) -> None:
        """Set what depends on the data before training. Shapes: x (N, *event), train split."""
        return

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The training objective. Shapes: x (B, *event), y (B,) int64 -> (B,), in nats."""
