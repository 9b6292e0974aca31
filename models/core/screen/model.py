"""A screen: several models that look at one image, and one number of how strange they find it."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.core.contract.columns import Column, columns
from models.core.contract.families import build
from models.core.contract.graph import Graph
from models.core.contract.grid import NUM_LEVELS, Grid
from models.core.contract.model import Backend, GenerativeModel, Servable
from models.core.contract.one_shot import OneShot
from models.core.contract.operation import Operation, run
from models.core.contract.rows import Rows, concat
from models.core.ood.register import SCORES, Score
from models.core.ood.zvalues import fisher, fit_knots, z_value
from models.core.screen import self_test
from models.core.screen.config import Component, Config, Part

CHUNK = 8
"""Rows that the parts see at once: `check_runtimes` tries every number up to it."""


class Screening(OneShot):
    """How strange an image is to a screen: score (B,), and what its components found.

    z (B, J) and scores (B, J) are theirs, category (B,) the class that the classifier sees or
    -1. Nothing is random: what parts draw, they draw from one fixed seed. Rows are looked at in
    chunks for which a row's answer was seen to be the same bits alone and in company.
    """

    def __init__(self, screen: "Screen") -> None:
        each = (len(screen.components),)
        outputs = {
            **columns(score=(), z=each, scores=each),
            "category": Column(dtype=torch.int64),
        }
        super().__init__(screen, self._screened, outputs=outputs, graphs=tuple(screen.graphs()))
        self.screen = screen

    def preview(self, rows: Rows) -> Tensor | None:
        return None

    def _screened(self, rows: Rows) -> Rows:
        return concat([self._look(x) for x in rows["x"].split(self.screen.chunk)])

    def _look(self, x: Tensor) -> Rows:
        columns = self.screen.columns(x)
        scores = self.screen.raw_scores(columns)
        z = self.screen.z_values(scores)
        classifier = self.screen.config.classifier
        category = torch.full((len(x),), -1, device=x.device)
        if classifier:
            category = columns[f"{classifier}.logits"].argmax(1)
        return {
            "score": fisher(z).float(),
            "z": z.float(),
            "scores": scores.float(),
            "category": category,
        }


class Screen(Servable):
    """Scores of components, as z-values of in-distribution images, added up by Fisher's sum.

    Raises ValueError for components whose parts, scores or operations do not exist.
    """

    grid: Grid
    references: Tensor
    knots: Tensor
    witnessed: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.event_shape = config.event_shape
        self.grid = Grid(NUM_LEVELS)
        self.components = config.all_components
        self.parts = nn.ModuleDict({part.name: _model_of(part) for part in config.all_parts})
        self._check()
        self.num_classes = config.num_classes if config.classifier else 0
        sizes = [c.num_references for c in self.components]
        self.register_buffer("references", torch.zeros(sum(sizes), dtype=torch.float64))
        shape = (len(self.components), config.num_knots + 2)
        self.register_buffer("knots", torch.zeros(shape, dtype=torch.float64))
        shape = (self_test.NUM, len(self.components))
        # z-values of the self-test's pictures when the screen was made; zeros: not yet.
        self.register_buffer("witnessed", torch.zeros(shape, dtype=torch.float64))
        self.chunk = CHUNK
        self.programs = {name: self.programs_of(name) for name in self.parts}

    def part(self, name: str) -> GenerativeModel:
        """A model within the screen."""
        model = self.parts[name]
        assert isinstance(model, GenerativeModel)
        return model

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the components, in the order of the columns z and scores."""
        return tuple(c.score for c in self.components)

    def operations(self) -> Mapping[str, Operation[Any]]:
        operations: dict[str, Operation[Any]] = {"screen": Screening(self)}
        if self.config.classifier:
            operations["classify"] = self.part(self.config.classifier).operations()["classify"]
        return operations

    def graphs(self) -> Mapping[str, Graph]:
        """The graphs that the components need, by part.graph."""
        return {
            f"{name}.{graph}": self.part(name).graphs()[graph]
            for name in self.parts
            for graph in sorted({g for o in self._needed(name) for g in o.graphs})
        }

    @property
    def scoring_graphs(self) -> tuple[str, ...]:
        """The graphs that scores were calibrated with, by part.graph; other runtimes may differ."""
        return tuple(
            f"{name}.{graph}"
            for name, operations in self.programs.items()
            for graph in sorted({g for o in operations for g in o.graphs})
        )

    def use(self, name: str, backend: Backend | None) -> None:
        part, _, graph = name.partition(".")
        self.part(part).use(graph, backend)

    def check_runtimes(self) -> None:
        """See that a row's score is the same bits in any company, or look at rows one by one.

        What may depend on company is the algorithm that a runtime picks by the size of a batch,
        so all sizes up to the chunk are tried. Raises ValueError if scores are no longer what they
        were when they were calibrated.
        """
        if self.witnessed.any():
            self_test.verify(self.known_z_values(), self.witnessed, self.score_names)
        x = self.grid.values(self.grid.levels(self_test.noise(CHUNK, self.event_shape)))
        self.chunk = CHUNK if self_test.same_in_company(self.columns, x) else 1

    def columns(self, x: Tensor) -> Rows:
        """What the parts say, by part.column. Shapes: x (B, C, H, W)."""
        seed = torch.zeros(len(x), dtype=torch.int64)
        return {
            f"{name}.{column}": values
            for name, operations in self.programs.items()
            for operation in operations
            for column, values in run(
                operation, {"seed": seed, "x": x}, operation.default_params
            ).items()
        }

    def raw_scores(self, columns: Rows, references: Tensor | None = None) -> Tensor:
        """Scores of the components, each in its unit. -> (B, J) float64."""
        scores, start = [], 0
        fitted = self.references if references is None else references
        for component in self.components:
            reference = fitted[start : start + component.num_references]
            start += component.num_references
            score = SCORES[component.score]
            rows = self.rows_of(component, columns)
            scores.append(score.compute(rows, reference).double())
        return torch.stack(scores, 1)

    def rows_of(self, component: Component, columns: Rows) -> Rows:
        """The columns of a component's score, by the names that the score knows."""
        score = SCORES[component.score]
        rows = {c: columns[f"{component.part}.{c}"] for c in score.columns}
        if component.background:
            for column in score.columns:
                rows[f"background_{column}"] = columns[f"{component.background}.{column}"]
        return rows

    def known_z_values(self) -> Tensor:
        """z-values of the self-test's pictures, one by one. -> (4, J) float64."""
        x = self.grid.values(self.grid.levels(self_test.pictures(self.event_shape)))
        alone = concat([self.columns(row) for row in x.split(1)])
        return self.z_values(self.raw_scores(alone))

    def z_values(self, scores: Tensor) -> Tensor:
        """z-values of the components' scores. Shapes: (B, J) -> (B, J) float64."""
        pairs = zip(scores.unbind(1), self.knots, strict=True)
        return torch.stack([z_value(s, k, self.config.num_fitted) for s, k in pairs], 1)

    def fit_knots(self, scores: Tensor) -> None:
        """Set what z-values are measured by. Shapes: raw scores (N, J) of `num_fitted` images."""
        assert len(scores) == self.config.num_fitted, "the config says how many are fitted"
        knots = [fit_knots(column, self.config.num_knots) for column in scores.unbind(1)]
        self.knots.copy_(torch.stack(knots))

    def _needed(self, name: str) -> list[Operation[Any]]:
        """The operations that are run on a part, and the one that says the class."""
        own = [self.part(name).operations()["classify"]] if name == self.config.classifier else []
        return [*self.programs[name], *own]

    def programs_of(self, name: str) -> list[Operation[Any]]:
        """As few operations as give all columns that the components want of a part."""
        operations = self.part(name).operations()
        wanted = [(operations[s.operation], set(s.columns)) for s in self._scores_of(name)]
        if name == self.config.classifier:
            wanted.append((operations["classify"], {"logits"}))
        kept: list[Operation[Any]] = []
        for operation, names in sorted(wanted, key=lambda pair: -len(pair[0].outputs)):
            if not any(names <= set(other.outputs) for other in kept):
                kept.append(operation)
        return kept

    def _scores_of(self, name: str) -> Iterator[Score]:
        for component in self.components:
            if name in (component.part, component.background):
                yield SCORES[component.score]

    def _check(self) -> None:
        for component in self.components:
            if component.score not in SCORES or component.score == "screen":
                raise ValueError(f"score {component.score!r}: accepted are {', '.join(SCORES)}")
            score = SCORES[component.score]
            if score.needs_background != bool(component.background):
                raise ValueError(f"score {component.score}: a background is missing or too much")
            for name in filter(None, (component.part, component.background)):
                if name not in self.parts:
                    raise ValueError(f"part {name!r}: accepted are {', '.join(self.parts)}")
                if score.operation not in self.part(name).operations():
                    raise ValueError(f"part {name} has no operation {score.operation}")
        for name in self.parts:
            if self.part(name).event_shape != self.event_shape:
                raise ValueError(f"part {name} is about events of {self.part(name).event_shape}")
        if self.config.classifier and self.config.classifier not in self.parts:
            raise ValueError(f"classifier {self.config.classifier!r} is no part")


Model = Screen
"""The name by which `models.core.contract.families.build` finds it."""


def _model_of(part: Part) -> GenerativeModel:
    """A new model of the part's family. Raises ValueError if there is no such family."""
    model = build(part.family, part.config)
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"part {part.name}: a {part.family} has no density of its own")
    return model
