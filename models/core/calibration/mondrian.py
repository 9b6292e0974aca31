"""p-values within a class, so that no class bears the false alarms of the others (Mondrian)."""

from functools import lru_cache

import torch
from torch import Tensor

from models.core.calibration.conformal import Calibration


@lru_cache(256)
def by_category(calibration: Calibration) -> dict[int, Calibration]:
    """The calibration images of each predicted class, as calibrations of their own.

    The class is a function of the image, so images of one class are exchangeable among
    themselves and their p-values keep the promise class by class (Vovk et al. 2005, section 4.5).
    Images without a predicted class, -1, belong to none. Raises ValueError if none has one.
    """
    category = calibration.category
    if category is None or not bool((category >= 0).any()):
        raise ValueError(
            "the calibration of this score knows no classes: accepted are screens with a classifier"
        )
    calibrations = {}
    for index in category.unique().tolist():
        if index >= 0:
            # Some of what is in ascending order are in ascending order.
            calibrations[int(index)] = Calibration(calibration.scores[category == index])
    return calibrations


def p_value_by_category(calibration: Calibration, score: Tensor, category: Tensor) -> Tensor:
    """Conformal p-values among the calibration images of the same predicted class.

    For each class, P(p_value <= a) <= a for every a, averaged over the draw of its calibration
    images. A class without any gives 1. Shapes: score (B,), category (B,) -> (B,) float64.
    """
    calibrations = by_category(calibration)
    p_value = torch.ones(len(score), dtype=torch.float64)
    for index in category.unique().tolist():
        if of_class := calibrations.get(int(index)):
            rows = category == index
            p_value[rows] = of_class.p_value(score[rows])
    return p_value
