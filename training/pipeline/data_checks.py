"""Says before a training what its data will not do for, not when it is over."""

import math

from training.data.readers import DataError
from training.data.splits import Dataset
from training.fit.recipe import Recipe
from training.measure.test_split import ALPHA


def check_data(recipe: Recipe, data: Dataset) -> None:
    """Raises DataError for one class where classes are told apart, and too few to calibrate."""
    if getattr(recipe.config, "num_classes", 0) and len(data.class_names) < 2:
        raise DataError(
            f"{data.name} has one class, {data.class_names[0]}: a {recipe.family} tells classes "
            "apart and needs two; a model without labels (ebm, ddpm, pixelcnn, ...) takes one"
        )
    least = num_needed(ALPHA)
    num = len(data.splits["calibration"])
    if recipe.ood_scores and num < least:
        total = sum(map(len, data.splits.values()))
        raise DataError(
            f"{data.name} has {total:,} images, of which {num:,} calibrate: alpha {ALPHA:g} needs "
            f"at least {least:,}. Of a folder with a folder per class {_whole(least):,} images "
            f"that differ are enough, of one with train/ and test/ {12 * least:,} in train/"
        )


def num_needed(alpha: float) -> int:
    """The fewest calibration images that make p-values as small as alpha possible.

    Raises ValueError if alpha is no rate.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha}: accepted are numbers between 0 and 1")
    # 1 / (N + 1) <= alpha; the quotient is rounded, and 1 / 0.05 must give 20.
    return math.ceil(1 / alpha - 1e-9) - 1


def _whole(num: int) -> int:
    """The fewest images of a set of which 7.5 %, rounded down, are as many."""
    return math.ceil(num * 1000 / 75)
