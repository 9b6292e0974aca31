"""Variational autoencoders: a decoder of latents, and an encoder that bounds its likelihood.

Kingma and Welling 2014, "Auto-encoding variational Bayes", arXiv:1312.6114.
"""

from dataclasses import dataclass

from models.core.latent.autoencoder import Autoencoder, AutoencoderConfig


@dataclass(frozen=True, kw_only=True)
class Config(AutoencoderConfig):
    """The defaults are a tiny model of binary images, trained by the evidence lower bound."""


class Model(Autoencoder):
    """log p(x) >= E_q[log p(x given z)] - KL(q(z given x) || p(z))."""
