"""An autoencoder whose latents lie on the unit sphere: images near the data, on demand.

Yoon et al. 2023, "Energy-based models for anomaly detection: a manifold projection-diffusion
recovery approach" (MPDR, NeurIPS): negatives are wanted where data are nearly, and a decoder's
images are there. It is fitted once, by squared error, and then frozen.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.batches import Batches


class Manifold(nn.Module):
    """Encoder and decoder: images of any size in [0, 1] to unit vectors and back.

    Shapes: (B, C, H, W) -> (B, num_latents) -> (B, C, H, W).
    """

    def __init__(self, event_shape: Sequence[int], num_latents: int, hidden: int = 256) -> None:
        super().__init__()
        channels, self.height, self.width = event_shape
        few, many = 32, 64
        small = (many, -(-self.height // 4), -(-self.width // 4))
        self.encoder = nn.Sequential(
            *(nn.Conv2d(channels, few, 3, 2, 1), nn.SiLU()),
            *(nn.Conv2d(few, many, 3, 2, 1), nn.SiLU(), nn.Flatten()),
            *(nn.Linear(math.prod(small), hidden), nn.SiLU(), nn.Linear(hidden, num_latents)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(num_latents, hidden), nn.SiLU()),
            *(nn.Linear(hidden, math.prod(small)), nn.SiLU(), nn.Unflatten(1, small)),
            *(nn.ConvTranspose2d(many, few, 4, 2, 1), nn.SiLU()),
            *(nn.ConvTranspose2d(few, channels, 4, 2, 1), nn.Sigmoid()),
        )

    def encode(self, x: Tensor) -> Tensor:
        """Where an image lies on the sphere. Shapes: (B, C, H, W) -> (B, num_latents)."""
        return on_sphere(self.encoder(2 * x - 1).float())

    def decode(self, z: Tensor) -> Tensor:
        """The image at a point of the sphere. Shapes: (B, num_latents) -> (B, C, H, W)."""
        x: Tensor = self.decoder(z)
        return x[..., : self.height, : self.width].float()


def on_sphere(z: Tensor) -> Tensor:
    """The nearest unit vector. Shapes: (B, D) -> (B, D)."""
    return functional.normalize(z, dim=1)


def fitted(manifold: Manifold, batches: Batches, num_steps: int, rate: float = 1e-3) -> Manifold:
    """The same manifold, its squared error lowered in `num_steps` batches, then frozen."""
    device = next(manifold.parameters()).device
    optimizer = torch.optim.Adam(manifold.parameters(), rate)
    # The trainer's half precision is for the energy: this is small, and its errors would stay.
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for step in range(num_steps):
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / num_steps)) / 2
            x = batches.at(step)[0].to(device)
            loss = functional.mse_loss(manifold.decode(manifold.encode(x)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return frozen(manifold)


def frozen(manifold: Manifold) -> Manifold:
    """The same manifold; no gradient changes it any more."""
    return manifold.eval().requires_grad_(False)
