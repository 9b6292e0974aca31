"""What an out-of-distribution score is: a rule from an operation's columns to one number.

One orientation for ever: a higher score is stranger.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from models.core.calibration.conformal import Reference
from models.core.contract.rows import Rows


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
