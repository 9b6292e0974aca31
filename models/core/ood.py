"""Out-of-distribution scores: from what a model says of an event to how strange it is.

One orientation for ever: a higher score is stranger. What a number means is said by
`models.core.conformal`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from models.core.conformal import Reference
from models.core.operation import Rows

_LN2 = math.log(2)


@dataclass(frozen=True)
class Score:
    """A way to say how strange an event is: columns of an operation's result -> one number."""

    operation: str
    columns: tuple[str, ...]
    unit: str
    description: str
    compute: Callable[[Rows, Reference], Tensor]
    """Columns and the calibration's reference -> (B,), higher = stranger."""
    fit: Callable[[Rows], Reference] | None = None
    """Columns of in-distribution data -> reference; None: the median of the first column."""
    needs_background: bool = False
    """Whether it compares two models: of the second, columns come with `background_` before."""

    def fitted(self, rows: Rows) -> Reference:
        """The reference, from columns of in-distribution data that will not be in the calibration.

        Shapes: as `compute`.
        """
        return self.fit(rows) if self.fit else float(rows[self.columns[0]].median())


SCORES: dict[str, Score] = {
    "energy": Score(
        "energy",
        ("energy",),
        "nats, up to the model's constant",
        "Minus the unnormalised log density (Liu et al. 2020, arXiv:2010.03759).",
        lambda rows, _: rows["energy"],
    ),
    "energy_typicality": Score(
        "energy",
        ("energy",),
        "nats",
        "Distance of the energy from its median on validation data, so that images that are too "
        "likely count as strange as well (after Nalisnick et al. 2019, arXiv:1906.02994).",
        lambda rows, reference: (rows["energy"] - reference).abs(),
    ),
    "llr_local": Score(
        "log_likelihood",
        ("log_prob",),
        "bits",
        "How much likelier pixels are to a model of texture than to one of whole images: a "
        "likelihood ratio in which what both know cancels (Zhang et al. 2021, "
        '"On the out-of-distribution generalization of probabilistic image modelling").',
        lambda rows, _: (rows["background_log_prob"] - rows["log_prob"]) / _LN2,
        needs_background=True,
    ),
    "screen": Score(
        "screen",
        ("score",),
        "nats, doubled",
        "Fisher's sum -2 log P(Z > z) over the components' one-sided z-values, as a score that a "
        "calibration judges, not as a test (Fisher 1932).",
        lambda rows, _: rows["score"],
    ),
    "nll": Score(
        "log_likelihood",
        ("log_prob",),
        "nats",
        "Minus the log likelihood (or its bound). Flows and autoregressive models can find other "
        "data likelier than their own (Nalisnick et al. 2019, arXiv:1810.09136).",
        lambda rows, _: -rows["log_prob"],
    ),
    "typicality": Score(
        "log_likelihood",
        ("log_prob",),
        "nats",
        "Distance of the log likelihood from its median on validation data, so that events that "
        "are too likely count as strange as well (Nalisnick et al. 2019, arXiv:1906.02994).",
        lambda rows, reference: (rows["log_prob"] - reference).abs(),
    ),
}
