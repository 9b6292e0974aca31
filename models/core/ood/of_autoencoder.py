"""What an autoencoder's own path says of an event: how far its ends are apart, and how it went.

Huang et al. 2024, "Rethinking test-time likelihood: the likelihood path principle and its
application to OOD detection", arXiv:2401.04933.
"""

from typing import TYPE_CHECKING

import torch

from models.core.contract.operation import OneShot, Rows
from models.core.ood.mahalanobis import by_distance
from models.core.ood.score import Score

if TYPE_CHECKING:
    from models.core.latent.autoencoder import Autoencoder

_LEAST = 1e-12  # of a norm: its logarithm stays finite


class LikelihoodPath(OneShot):
    """Column path_norms (B, 3): log |x - E[x given z]|, log |mu| and log |sigma|, of the normal
    q(z given x) at whose centre z is; a flow behind it takes only z further."""

    def __init__(self, model: "Autoencoder") -> None:
        super().__init__(
            model, self._path_norms, outputs=("path_norms",), graphs=("statistics", "decode")
        )
        self.autoencoder = model

    def _path_norms(self, rows: Rows) -> Rows:
        model = self.autoencoder
        x = model.on_grid(rows["x"])
        (statistics,) = model.compute("statistics", x)
        mean, log_std = model.posterior.normal(statistics)
        (params,) = model.compute("decode", model.posterior.centre(statistics))
        away = x - model.expected(params)
        norms = [part.flatten(1).double().norm(dim=1) for part in (away, mean, log_std.exp())]
        return {"path_norms": torch.stack(norms, 1).clamp(min=_LEAST).log().float()}


LATENT_SCORES: dict[str, Score] = {
    "likelihood_path": by_distance(
        "likelihood_path",
        ("path_norms",),
        "Mahalanobis distance of the logarithms of three norms on the way from an event to its "
        "reconstruction (LPath, Huang et al. 2024, arXiv:2401.04933, who take several norms and "
        "judge them by copulas instead, COPOD).",
    ),
}
