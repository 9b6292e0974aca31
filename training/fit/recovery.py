"""Contrastive training whose negatives lie near the data too: energies that tell strangers.

Manifold projection-diffusion recovery (MPDR), Yoon et al. 2023, NeurIPS: an image is moved about
on an autoencoder's sphere of latents, goes down the energy there and then among the pixels, and is
a negative. Left out: the pull back to the image, whose weight there is 1e-4. Added: persistent
chains, since the same energy has to draw samples, and simple pictures (outlier exposure).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.core.energy.model import EnergyModel
from training.data.batches import Batches, random
from training.data.splits import Split
from training.fit.contrastive import Contrastive
from training.fit.manifold import Manifold, fitted, frozen, on_sphere
from training.fit.simple_pictures import simple_pictures

# Streams of random numbers, beside those of contrastive training.
_MANIFOLD, _SIMPLE, _AUTOENCODER, _FROM_NOISE = range(9, 13)
_SIMPLE_SHARE = 0.25
_MOST_CHANGE = 0.1
"""Of a pixel in one step."""


class Recovery(Contrastive):
    """Negatives of three kinds, in stated shares: chains, simple pictures and, the rest, MPDR's."""

    def __init__(
        self,
        model: EnergyModel,
        train: Split,
        seed: int,
        *,
        classifier_steps: int = 0,
        contrastive_steps: int = 1000,
        batch_size: int = 64,
        labelled_batch_size: int = 64,
        classifier_rate: float = 1e-3,
        rate: float = 2e-4,
        rate_steps: int = 0,
        num_langevin: int = 10,
        buffer_size: int = 2000,
        fresh_share: float = 0.05,
        conditional_share: float = 0.5,
        fresh_start: str = "gaussian",
        data_noise: float = 0.03,
        l2: float = 0.1,
        label_weight: float = 1.0,
        max_shift: int = 0,
        max_energy: float = 50.0,
        chain_share: float = 0.25,
        noise_share: float = 0.0,
        chain_step_size: float = 0.0,
        chain_step_until: int = 0,
        simple_share: float = _SIMPLE_SHARE,
        manifold_steps: int = 2000,
        num_latents: int = 32,
        latent_noise: tuple[float, float] = (0.05, 0.5),
        num_latent_steps: int = 2,
        num_pixel_steps: int = 5,
        latent_step: float = 0.05,
        latent_step_noise: float = 0.02,
        pixel_step: float = 0.5,
        pixel_step_noise: float = 0.005,
    ) -> None:
        self.noise_share = noise_share  # first, since the first chains begin in what follows
        super().__init__(
            model,
            train,
            seed,
            classifier_steps=classifier_steps,
            contrastive_steps=contrastive_steps,
            batch_size=batch_size,
            labelled_batch_size=labelled_batch_size,
            classifier_rate=classifier_rate,
            rate=rate,
            num_langevin=num_langevin,
            buffer_size=buffer_size,
            fresh_share=fresh_share,
            conditional_share=conditional_share,
            fresh_start=fresh_start,
            data_noise=data_noise,
            l2=l2,
            label_weight=label_weight,
            max_shift=max_shift,
            max_energy=max_energy,
        )
        # A run may end before its rate has fallen: the average of weights makes up for that.
        self.rate_steps = rate_steps or contrastive_steps
        self.chain_step_size, self.chain_step_until = chain_step_size, chain_step_until
        self.num_chains = round(chain_share * self.batches.batch_size)
        self.num_simple = round(simple_share * self.batches.batch_size)
        self.manifold_steps, self.num_latents = manifold_steps, num_latents
        self.latent_noise = latent_noise
        self.num_latent_steps, self.num_pixel_steps = num_latent_steps, num_pixel_steps
        self.latent_step, self.latent_step_noise = latent_step, latent_step_noise
        self.pixel_step, self.pixel_step_noise = pixel_step, pixel_step_noise
        self._manifold: Manifold | None = None

    @classmethod
    def note(cls, settings: Mapping[str, Any]) -> str:
        """That simple pictures were negatives, and in which share."""
        share = settings.get("simple_share", _SIMPLE_SHARE)
        if not share:
            return ""
        return (
            f"Outlier exposure: {share:.0%} of the negatives of training were simple pictures "
            "made from nothing (constants, smooth noise, blots, outlines; no image of any set). "
            "Drawings and plain shapes resemble them: figures against such sets are helped by this."
        )

    @property
    def manifold(self) -> Manifold:
        """The frozen autoencoder; fitted at its first use, since a resumed run loads it."""
        if self._manifold is None:
            batches = Batches(self.train, 128, self.seed, _AUTOENCODER)
            self._manifold = fitted(self._new_manifold(), batches, self.manifold_steps)
        return self._manifold

    def _new_manifold(self) -> Manifold:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return Manifold(self.model.event_shape, self.num_latents).to(self.model.device)

    def _shown(self, e_data: Tensor, e_model: Tensor) -> dict[str, Tensor]:
        sizes = [self.num_chains, self.num_simple]
        parts = e_model.split([*sizes, len(e_model) - sum(sizes)])
        named = zip(("e_chain", "e_simple", "e_manifold"), parts, strict=True)
        return {"e_data": e_data.mean(), **{name: e.mean() for name, e in named if len(e)}}

    def _restart(self, index: Tensor, step: int) -> None:
        """Begin chains anew, a share of them at uniform noise, from where samples are asked too."""
        super()._restart(index, step)
        rng = random(self.seed, step, _FROM_NOISE)
        chosen = index[torch.from_numpy(rng.random(len(index)) < self.noise_share)]
        noise = rng.random((len(chosen), *self.model.event_shape), "float32")
        self.chains[chosen] = torch.from_numpy(noise).half()

    def _negatives(self, x: Tensor, label: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Chains, simple pictures, near images, in this order. -> (B, *event), (B,)."""
        device = self.model.device
        start, stop = self.num_chains, self.num_chains + self.num_simple
        parts, labels = [], [label[start:].to(device)]
        if start:
            self.chain_params["step_size"] = self._chain_step(step)
            chains, chain_label = self._chains(start, step)
            parts, labels = [chains.to(device)], [chain_label.to(device), *labels]
        rng = random(self.seed, step, _SIMPLE)
        parts.append(simple_pictures(rng, stop - start, self.model.event_shape).to(device))
        if stop < len(x):
            parts.append(self._near(x[stop:].to(device), label[stop:].to(device), step))
        return torch.cat(parts), torch.cat(labels)

    def _chain_step(self, step: int) -> float:
        """The served step, or the chains' own in so many contrastive steps (0: in all).

        Trained energies are flat between their levels: what serves may need to be longer.
        """
        served: float = self.model.config.step_size
        done = step - self.classifier_steps
        is_own = done < self.chain_step_until if self.chain_step_until else True
        return self.chain_step_size if self.chain_step_size and is_own else served

    def _near(self, x: Tensor, label: Tensor, step: int) -> Tensor:
        """Low energies not far from these images, off the data. -> (B, *event)."""
        rng = random(self.seed, step, _MANIFOLD)

        def noise(shape: torch.Size) -> Tensor:
            return torch.from_numpy(rng.standard_normal(shape, "float32")).to(x.device)

        manifold = self.manifold
        size = torch.from_numpy(rng.uniform(*self.latent_noise, size=(len(x), 1)).astype("f4"))
        with torch.no_grad():
            z = manifold.encode(x)
        z = on_sphere(z + size.to(x.device) * noise(z.shape))
        self.model.requires_grad_(False)
        for _ in range(self.num_latent_steps):
            grad = self._gradient(z, label, through_decoder=True)
            z = z - self.latent_step * on_sphere(grad) + self.latent_step_noise * noise(z.shape)
            z = on_sphere(z)
        with torch.no_grad():
            x = manifold.decode(z)
        for _ in range(self.num_pixel_steps):
            change = self.pixel_step * self._gradient(x, label)
            x = x - change.clamp(-_MOST_CHANGE, _MOST_CHANGE)
            x = (x + self.pixel_step_noise * noise(x.shape)).clamp(0, 1)
        self.model.requires_grad_(True)
        return x

    def _gradient(self, at: Tensor, label: Tensor, through_decoder: bool = False) -> Tensor:
        """Of the energy, in the pixels or in the latents that are decoded. Shape of `at`."""
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            x = self.manifold.decode(at) if through_decoder else at
            # Rows are independent, so the gradient of the sum holds each row's own.
            (grad,) = torch.autograd.grad(self.model.energy(x, label).sum(), at)
        return grad

    def state(self) -> dict[str, Tensor]:
        weights = {} if self._manifold is None else self._manifold.state_dict()
        return {**super().state(), **{f"manifold.{k}": v for k, v in weights.items()}}

    def load_state(self, state: dict[str, Tensor]) -> None:
        super().load_state(state)
        prefix = "manifold."
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if weights:
            self._manifold = frozen(self._new_manifold())
            self._manifold.load_state_dict(weights)
