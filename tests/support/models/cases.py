"""Every operation of every family at each example of its params, alone and in company."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from models.core.contract.families import families
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import request_seeds
from models.core.contract.operation import Operation, run
from models.core.contract.rows import Rows, concat, num_rows, split
from models.core.derived.around import Around
from tests.support.models.tiny import events_of, latents_of, random_model

ATOL = 1e-4
_VECTORS = {"event_shape": (5,), "num_levels": 0}
_OTHER_EVENTS: dict[str, dict[str, dict[str, Any]]] = {
    "glow": {"colour": {"event_shape": (3, 4, 4), "logit_margin": 0.0}},
    "idf": {
        "colour": {"event_shape": (3, 4, 4), "num_levels": 256, "num_groups": 2},
        "halves": {"num_parts": 2, "num_scales": 1, "flow_steps": 2, "num_levels": 2},
    },
    "linear_flow": {"vectors": _VECTORS},
    "made": {
        "counts": {"event_shape": (5,), "num_levels": 4, "output": "categorical"},
        "grey": {"num_levels": 16, "output": "logistic_mixture"},
    },
    "maf": {
        "vectors": {**_VECTORS, "direct": True},
        "iaf": {"direction": "iaf", "order": "random"},
        "mixture": {"num_components": 2, "event_shape": (1, 2, 2)},
        "iaf_vectors": {**_VECTORS, "direction": "iaf"},
    },
    "pixelcnn": {
        "binary": {"num_levels": 2, "output": "bernoulli", "conditional": False},
        "grey": {
            "num_levels": 16,
            "output": "logistic_mixture",
            "coordinates": False,
            "place_tables": True,
        },
        "colour": {"event_shape": (3, 2, 3), "num_levels": 16, "output": "logistic_mixture"},
    },
    "pixelvae": {
        "grey": {"num_levels": 4, "output": "categorical", "encoder": "conv", "coordinates": True},
        "flows": {
            "event_shape": (1, 3, 4),
            "num_levels": 16,
            "output": "logistic_mixture",
            "decoder": "mlp",
            "posterior": "planar",
            "prior": "coupling",
        },
    },
    "realnvp": {
        "vectors": _VECTORS,
        "binary": {"num_levels": 2},
        "marginals": {"marginal_components": 2},
    },
    "residual_flow": {
        "vectors": _VECTORS,
        "plain": {
            "event_shape": (3, 2, 2),
            "blocks_at": (2,),
            "fully_connected": True,
            "dense": False,
            "activation": "lipswish",
        },
    },
    "sylvester": {
        "planar": {"kind": "planar", "event_shape": (3,)},
        "pixels": {"event_shape": (1, 2, 2), "num_levels": 4},
        "convolutions": {
            "kind": "convolution_exponential",
            "event_shape": (1, 4, 4),
            "num_levels": 4,
        },
    },
    "vae": {
        "grey": {
            "num_levels": 16,
            "output": "logistic_mixture",
            "num_components": 2,
            "encoder": "conv",
            "decoder": "conv",
            "event_shape": (1, 5, 6),
            "free_bits": 0.1,
        },
        "planar": {"posterior": "planar", "prior": "coupling", "latent_dims": 3},
        "sylvester": {"posterior": "sylvester", "latent_dims": 3},
        "iaf": {
            "posterior": "iaf",
            "latent_dims": 3,
            "event_shape": (5,),
            "num_levels": 4,
            "output": "categorical",
            "num_importance_samples": 2,
        },
    },
}
"""What else than its default a family can be about, by family and a name for it."""
SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in families()},
    **{
        f"{name}.{form}": (name, config)
        for name, forms in _OTHER_EVENTS.items()
        if name in families()
        for form, config in forms.items()
    },
}
"""Families and their configs that the contract is about."""


@cache
def model_of(subject: str) -> GenerativeModel:
    """One tiny model a subject; no operation may change it."""
    family, config = SUBJECTS[subject]
    return random_model(family, **config)


class Case(NamedTuple):
    """An operation with params; several cases of one operation can share a lane."""

    subject: str
    name: str
    params: Any

    @property
    def model(self) -> GenerativeModel:
        """The model that runs it."""
        return model_of(self.subject)

    @property
    def operation(self) -> Operation[Any]:
        """The operation itself."""
        return self.model.operations()[self.name]

    def inputs(self, num: int = 5, seed: int = 0) -> Rows:
        """Columns as a request brings them; labels mixed, one of them missing."""
        model, operation = self.model, self.operation
        rows: Rows = {"seed": request_seeds(seed, num, shared=operation.shares_seed)}
        if operation.needs_latents:
            rows["z"] = latents_of(model, num, seed)
        if operation.takes_label:
            rows["label"] = (torch.arange(num) + seed) % (model.num_classes + 1) - 1
        if own := operation.own_inputs(num, seed):
            return {**rows, **own}
        try:
            operation.check(rows, self.params)
        except ValueError:
            rows["x"] = events_of(model, num, seed)
        operation.check(rows, self.params)
        return rows

    def run(self, inputs: Rows) -> Rows:
        """The result, computed as the service does: without gradients."""
        with torch.no_grad():
            return run(self.operation, inputs, self.params)


_WRAPPED = {
    "energy": ("pixelcnn", "residual_flow", "ddpm", "made"),
    "input_complexity": ("pixelcnn", "pixelcnn.colour", "glow", "vae"),
}
"""Subjects that stand for all in the wrappers of log_likelihood, which only change its result: one
is tested by equality everywhere, the other adds columns that know nothing of the model."""
OPERATIONS = [
    (subject, name)
    for subject in SUBJECTS
    for name, operation in model_of(subject).operations().items()
    if not isinstance(operation, Around) or subject in _WRAPPED[name]
]
"""Subjects and their operations."""


def cases_of(subject: str, name: str) -> list[Case]:
    """An operation at its default params and at each example."""
    operation = model_of(subject).operations()[name]
    params = dict.fromkeys((operation.default_params, *operation.examples))
    return [Case(subject, name, each) for each in params]


def _cases() -> Iterator[Case]:
    """Every example once in each family that has the program; elsewhere the default params.

    Examples reach the branches of a program. Subjects of a family that differ in config reach
    those of its networks, at any params. Both at once are for tests that loop over `cases_of`.
    """
    known = set()
    for subject, name in OPERATIONS:
        cases = cases_of(subject, name)
        program = (SUBJECTS[subject][0], name, type(cases[0].operation))
        yield from cases[:1] if program in known else cases
        known.add(program)


CASES = list(_cases())


def title(case: Any) -> str:
    """How a case is called in the report."""
    return f"{case.subject}-{case.name}" if isinstance(case, Case) else str(case)


def assert_same(found: Rows, expected: Rows, atol: float = ATOL) -> None:
    """Equal columns up to rounding, NaN where NaN is meant."""
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], atol=atol, rtol=atol, equal_nan=True, msg=name
        )


def rows_at(rows: Rows, index: Any) -> Rows:
    """Some rows of a table."""
    return {name: column[index] for name, column in rows.items()}


@torch.no_grad()
def in_company(operation: Operation[Any], requests: Sequence[tuple[Rows, Any]]) -> list[Rows]:
    """Results of requests that share every step they can; request i joins at tick i, unless steps
    are so few that it would meet no other: then two join a tick."""
    results: dict[int, Rows] = {}
    inside: dict[int, Rows] = {}
    left = [operation.num_steps(params) for _, params in requests]
    joined = 0
    while len(results) < len(requests):
        for _ in range(1 if max(left) > 1 else 2):
            if joined < len(requests):
                inside[joined] = operation.init(*requests[joined])
                joined += 1
        rows = operation.step(concat(list(inside.values())))
        parts = split(rows, [num_rows(part) for part in inside.values()])
        inside = dict(zip(inside, parts, strict=True))
        for i in list(inside):
            left[i] -= 1
            if left[i] == 0 or (operation.stops_early and bool(inside[i]["done"].all())):
                results[i] = operation.finish(inside.pop(i))
        assert inside or joined < len(requests) or len(results) == len(requests)
    return [results[i] for i in range(len(requests))]
