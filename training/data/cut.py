"""Cuts a set into four fixed, disjoint splits, by whole groups and whole sets of copies."""

from collections.abc import Mapping

import numpy as np

from training.data.readers import DataError, Raw

SPLITS = ("train", "validation", "calibration", "test")
_SPLIT_SEED = 20240229


def split_rows(raw: Raw, name: str) -> dict[str, np.ndarray]:
    """Row numbers of each split, int64, in a fixed random order. Raises DataError if one is empty.

    With an official test part: a twelfth of the rest is validation, if that is not official too, a
    twelfth calibration. Without: 15 % test, 7.5 % validation, 7.5 % calibration. Whole groups where
    there are any, and whole sets of copies; a split then has at most its share. A copy
    stands in one split, of official parts in test before validation before train, and counts once
    outside train.
    """
    num_rows = len(raw.y)
    parts = {"test": raw.is_test, "validation": raw.is_validation}
    found = {part: rows for part, rows in parts.items() if rows is not None}
    official = _apart(found, raw.copies)
    taken = np.any([np.zeros(num_rows, bool), *official.values()], axis=0)
    if raw.copies is not None:  # a copy of an official image is in no other part
        taken = np.isin(raw.copies, raw.copies[taken])
    pool = np.flatnonzero(~taken)
    num_pool = len(pool)
    if raw.is_test is None:
        sizes = [num_pool * 15 // 100, num_pool * 75 // 1000, num_pool * 75 // 1000]
        names = ["test", "validation", "calibration", "train"]
    else:
        names = [part for part in ("validation", "calibration", "train") if part not in official]
        sizes = [num_pool // 12] * (len(names) - 1)
    # RandomState, since its numbers are frozen: a Generator's may change with NumPy.
    random = np.random.RandomState(_SPLIT_SEED)
    group = np.arange(num_rows) if raw.copies is None else raw.copies
    group = group if raw.group is None else raw.group
    order = random.permutation(np.unique(group[pool]))
    place = {int(value): position for position, value in enumerate(order)}
    by_group = pool[np.argsort([place[int(value)] for value in group[pool]], kind="stable")]
    ends = np.cumsum(np.bincount([place[int(value)] for value in group[pool]]))
    cuts = [0, *(int(ends[ends <= size].max(initial=0)) for size in np.cumsum(sizes)), num_pool]
    rows = {
        part: random.permutation(by_group[start:stop])
        for part, start, stop in zip(names, cuts[:-1], cuts[1:], strict=True)
    }
    for part, is_part in official.items():
        rows[part] = random.permutation(np.flatnonzero(is_part))
    if raw.copies is not None:
        rows = {
            part: _once(raw.copies, rows[part]) if part != "train" else rows[part] for part in rows
        }
    empty = [part for part in SPLITS if len(rows[part]) == 0]
    if empty:
        raise DataError(f"{name} has only {num_rows} images: none are left for {empty[0]}")
    return {part: rows[part] for part in SPLITS}


def _apart(
    official: Mapping[str, np.ndarray], copies: np.ndarray | None
) -> Mapping[str, np.ndarray]:
    """Official parts without copies of those before. Shapes: bool (N,) each, int (N,)."""
    if copies is None or "validation" not in official or "test" not in official:
        return official
    tested = np.isin(copies, copies[official["test"]])
    return {**official, "validation": official["validation"] & ~tested}


def _once(copies: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows without those that are copies of one before, in their order."""
    _, places = np.unique(copies[rows], return_index=True)
    return rows[np.sort(places)]
