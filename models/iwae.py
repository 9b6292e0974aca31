"""Importance-weighted autoencoders: trained by a tighter bound, of several latents an event.

Burda et al. 2016, "Importance weighted autoencoders", arXiv:1509.00519.
"""

from dataclasses import dataclass

from models.core.latent.autoencoder import Autoencoder, AutoencoderConfig


@dataclass(frozen=True, kw_only=True)
class Config(AutoencoderConfig):
    """The defaults are a tiny model of binary images, trained with five latents."""

    num_importance_samples: int = 5


class Model(Autoencoder):
    """log p(x) >= E[log mean_k p(x, z_k) / q(z_k given x)], tighter with every further z."""
