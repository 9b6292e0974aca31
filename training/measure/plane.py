"""Models of pairs of numbers: pictures of their density, and how far it is from a known one."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.distributions.targets import TARGETS
from training.data.splits import Dataset
from training.measure.calibrate import columns_at

_DRAWN = 10_000
_SIDE = 300  # cells of a grid
_SHOWN = 2000  # samples in a picture
_LARGE = 10_000  # pairs at once: what a call costs is hardly the pairs


def divergences(model: GenerativeModel, data: Dataset) -> dict[str, float]:
    """KL(model || target) and KL(target || model) where the data were drawn from a known target.

    The first by samples of the model, with and without the target's constant, the second by
    quadrature; nats. Empty for other data.
    """
    if data.name not in TARGETS or model.likelihood is not Likelihood.EXACT:
        return {}
    target = TARGETS[data.name]
    log_z = target.log_z()
    x = _samples(model, _DRAWN)
    log_q = _log_prob(model, x)
    gap = log_q - target.log_prob(torch.from_numpy(x).double())
    grid = target.cell_centres(_SIDE)
    log_p = target.log_prob(grid) - log_z
    log_q_on_grid = _log_prob(model, grid.float().numpy())
    area = math.exp(target.log_cell(_SIDE))
    return {
        "target_log_z_nats": log_z,
        "reverse_kl_up_to_log_z_nats": float(gap.mean()),
        "reverse_kl_nats": float(gap.mean()) + log_z,
        "reverse_kl_nats_standard_error": float(gap.std()) / math.sqrt(_DRAWN),
        "forward_kl_nats": float((log_p.exp() * (log_p - log_q_on_grid)).sum()) * area,
        "mass_in_the_box": float(log_q_on_grid.exp().sum()) * area,
    }


def picture(model: GenerativeModel, data: Dataset) -> Figure:
    """The target's density (or the test rows), the model's density, and its samples."""
    test = data.splits["test"].x
    low, high = test.min(0), test.max(0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    across, up = (np.linspace(a, b, _SIDE) for a, b in zip(low, high, strict=True))
    place = np.stack(np.meshgrid(across, up), 2).reshape(-1, 2).astype(np.float32)
    extent = (low[0], high[0], low[1], high[1])
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.2), sharex=True, sharey=True)
    densities = {1: ("flow", _log_prob(model, place).exp().numpy())}
    if data.name in TARGETS:
        target = TARGETS[data.name]
        known = (target.log_prob(torch.from_numpy(place).double()) - target.log_z()).exp()
        densities[0] = ("target", known.numpy())
    else:
        panels[0].scatter(*test[:_SHOWN].T, s=2)
        panels[0].set_title("test rows")
    top = max(float(np.quantile(value, 0.999)) for _, value in densities.values())
    for at, (title, value) in densities.items():
        image = value.reshape(_SIDE, _SIDE)
        panels[at].imshow(image, origin="lower", extent=extent, vmin=0, vmax=top, aspect="auto")
        panels[at].set_title(title)
    panels[2].scatter(*_samples(model, _SHOWN).T, s=2)
    panels[2].set_title("samples")
    panels[2].set_xlim(low[0], high[0])
    panels[2].set_ylim(low[1], high[1])
    return figure


def _log_prob(model: GenerativeModel, x: np.ndarray) -> Tensor:
    """As it is served. Shapes: (N, 2) -> float64 (N,), nats."""
    params = model.operations()["log_likelihood"].default_params
    rows = columns_at(model, "log_likelihood", x, params, batch=_LARGE)
    return rows["log_prob"].double()


@torch.no_grad()
def _samples(model: GenerativeModel, num_rows: int) -> np.ndarray:
    operation = model.operations()["sample"]
    drawn = run(operation, {"seed": row_seeds(2024, num_rows)}, operation.default_params)["x"]
    return drawn.numpy()
