"""What an autoencoder's own path says of an event: how far its ends are apart, and how it went.

Huang et al. 2024, "Rethinking test-time likelihood: the likelihood path principle and its
application to OOD detection", arXiv:2401.04933.
"""

import torch

from models.core.contract.columns import columns
from models.core.contract.one_shot import OneShot
from models.core.contract.rows import Rows
from models.core.latent.density import ValueDecoder

_LEAST = 1e-12  # of a norm: its logarithm stays finite


class LikelihoodPath(OneShot):
    """Column path_norms (B, 3): log |x - E[x given z]|, log |mu| and log |sigma|, of the normal
    q(z given x) at whose centre z is; a flow behind it takes only z further."""

    def __init__(self, model: ValueDecoder) -> None:
        super().__init__(
            model,
            self._path_norms,
            outputs=columns(path_norms=(3,)),
            graphs=("statistics", "decode"),
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
