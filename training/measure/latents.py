"""What a report says of latents: which of them are used, and what they draw.

Active units: Burda et al. 2016, arXiv:1509.00519, section 5.2.
"""

import io
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from models.core.contract.model import GenerativeModel
from models.core.contract.noise import normal, row_seeds
from models.core.contract.operation import run
from models.core.latent.model import LatentModel
from models.core.latent.posterior import normal_kl
from training.data.splits import Split, as_events
from training.measure.calibrate import columns_at

_FEW = 1000  # events on which costly figures are taken
_MANY = 500  # latents of a tight bound
_ACTIVE = 0.01  # variance of a unit's centre beyond which it is in use
_COLUMNS = 10


def figures(model: LatentModel, test: Split) -> dict[str, float]:
    """Units in use, the bound's two parts in nats (KL, and -log p(x given z) at one z an event),
    and a bound of many latents where one is cheap."""
    x = test.x[:_FEW]
    few = f"first_{len(x)}"
    statistics = _statistics(model, x)
    figures = {
        "num_latents": float(model.num_latents),
        "active_units": float((_spread(model, statistics) > _ACTIVE).sum()),
        **{
            f"test_{part}_nats_{few}": value for part, value in _parts(model, x, statistics).items()
        },
    }
    if model.operations()["decode"].num_steps(model.operations()["decode"].default_params) > 1:
        return figures
    params = type(model.operations()["log_likelihood"].default_params)(num_samples=_MANY)
    log_prob = columns_at(model, "log_likelihood", x, params, batch=50)["log_prob"].double()
    name = f"test_log_likelihood_bound_nats_{_MANY}_latents_{few}"
    error = float(log_prob.std()) / len(x) ** 0.5
    return {**figures, name: float(log_prob.mean()), f"{name}_standard_error": error}


@torch.no_grad()
def _statistics(model: LatentModel, x: np.ndarray) -> Tensor:
    """The encoder's numbers. -> (N, S)."""
    return torch.cat([model.statistics(part) for part in as_events(x).split(250)])


@torch.no_grad()
def _spread(model: LatentModel, statistics: Tensor) -> Tensor:
    """Variance over events of every unit's centre. Shapes: (N, S) -> (D,)."""
    return model.posterior.centre(statistics).var(0)


@torch.no_grad()
def _parts(model: LatentModel, x: np.ndarray, statistics: Tensor) -> dict[str, float]:
    """Means over events of KL(q(z given x) || p(z)), in closed form or at one z an event, and of
    -log p(x given z) at that z; nats. Shapes: uint8 (N, *event), (N, S)."""
    seed = row_seeds(0, len(statistics))
    eps = normal(seed, torch.zeros_like(seed), (model.num_latents,))
    z, log_q = model.posterior.draw(statistics, eps)
    events = model.on_grid(as_events(x)).split(250)
    log_prob = [model.log_prob_given(*both) for both in zip(events, z.split(250), strict=True)]
    return {
        "kl": float(model.kl(statistics, z, log_q).sum(1).mean()),
        "reconstruction": -float(torch.cat(log_prob).mean()),
    }


def pictures(model: GenerativeModel, test: Split) -> dict[str, Tensor]:
    """Events in rows of ten by file name: test events above their reconstructions, and latents
    decoded along straight lines between test events, or over a plane if there are two.

    Of models that do not reconstruct nothing. -> (rows * 10, *event).
    """
    operations = model.operations()
    if "reconstruct" not in operations or len(model.event_shape) != 3:
        return {}
    x = as_events(test.x[: 3 * _COLUMNS])
    back = _result(model, "reconstruct", "x", x=x)
    pairs = [
        part for both in zip(x.split(_COLUMNS), back.split(_COLUMNS), strict=True) for part in both
    ]
    pictures = {"report/reconstructions.png": torch.cat(pairs)}
    if "decode" not in operations:
        return pictures
    if model.latent_shape == (2,):
        place = (torch.arange(_COLUMNS) + 0.5) / _COLUMNS
        z = torch.cartesian_prod(*[torch.special.ndtri(place)] * 2)
        return {**pictures, "report/plane.png": _result(model, "decode", "x", z=z)}
    ends = _result(model, "encode", "z", x=x[:_COLUMNS])
    share = torch.linspace(0, 1, _COLUMNS).view(1, -1, *(1 for _ in ends.shape[1:]))
    start, end = ends[0::2, None], ends[1::2, None]
    z = (start + share * (end - start)).flatten(0, 1)
    return {**pictures, "report/walks.png": _result(model, "decode", "x", z=z)}


def _result(model: GenerativeModel, name: str, column: str, **inputs: Tensor) -> Tensor:
    """A column of an operation's result with its default params."""
    operation: Any = model.operations()[name]
    seed = row_seeds(0, len(next(iter(inputs.values()))))
    with torch.no_grad():
        rows = run(operation, {"seed": seed, **inputs}, operation.default_params)
    return rows[column]


def usage(model: LatentModel, test: Split) -> dict[str, bytes]:
    """Units by their use, a PNG by its path: the KL of each if that is known, and the variance of
    its centre."""
    statistics = _statistics(model, test.x[:_FEW])
    spread = _spread(model, statistics)
    shown = {"variance of the centre over test events": spread}
    if model.posterior.flow is None and model.prior is None:
        shown["KL, nats"] = normal_kl(*model.posterior.normal(statistics)).mean(0)
    order = spread.argsort(descending=True)
    figure, panels = plt.subplots(1, len(shown), figsize=(4.5 * len(shown), 3), squeeze=False)
    for axes, (title, values) in zip(panels[0], shown.items(), strict=True):
        axes.bar(range(len(values)), values[order].numpy())
        axes.set_title(title)
        axes.set_xlabel("units, most used first")
    panels[0][0].axhline(_ACTIVE, color="black", linestyle="--")
    panels[0][0].set_yscale("log")
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=90)
    plt.close(figure)
    return {"report/units.png": buffer.getvalue()}
