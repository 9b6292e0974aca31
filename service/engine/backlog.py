"""How much work is inside, and how long until some of it has gone."""

from service.engine.messages import LaneKey


class Backlog:
    """Rows times steps that are still to do, by lane, and what they have cost of late."""

    def __init__(self) -> None:
        self._work: dict[LaneKey, int] = {}
        self._row_step_s: dict[LaneKey, float] = {}
        """Recent seconds per row and step."""

    def add(self, lane: LaneKey, work: int) -> None:
        """So many rows times steps are to do."""
        self._work[lane] = self._work.get(lane, 0) + work

    def reduce(self, lane: LaneKey, work: int) -> None:
        """So many are done, or not needed any more."""
        self._work[lane] -= work

    def took(self, lane: LaneKey, num_rows: int, seconds: float) -> None:
        """A step of so many rows took so long."""
        recent = self._row_step_s.get(lane, seconds / num_rows)
        self._row_step_s[lane] = 0.8 * recent + 0.2 * seconds / num_rows

    def wait_s(self, num_rows: int, rows_inside: int, max_rows: int) -> float:
        """Estimated time until so many rows fit: the share of the work that has to leave first."""
        work_s = sum(
            work * self._row_step_s.get(lane, 0.0) for lane, work in list(self._work.items())
        )
        excess = rows_inside + num_rows - max_rows
        return work_s * excess / max(rows_inside, 1)
