"""How far a flow in float32 comes back to where it started."""

from typing import Any

import numpy as np
import torch

from training.data.splits import as_events


@torch.no_grad()
def inverse_error(model: Any, x: np.ndarray) -> dict[str, float]:
    """The largest |y - f^-1(f(y))| over events, and how many of their values changed level.

    `model` has `encode`, `decode` and `to_event` between events and latents. Shape: (N, *event).
    """
    events = as_events(x)
    # A flow may know its values much cheaper than its log-determinant.
    noise = torch.zeros_like(events)
    y, _ = model.dequantise(events, noise)
    y_back = model.decode(model.encode(events, noise))
    figures = {"inverse_error_float32_max": float((y_back - y).abs().max())}
    if model.grid is not None:
        changed = model.to_event(y_back) != model.grid.values(model.grid.levels(events))
        figures["values_changed_by_round_trip"] = float(changed.sum())
    return figures
