"""What diffusion models share: a network that finds the noise in an image, at any time.

Sohl-Dickstein et al. 2015; Ho et al. 2020, "Denoising diffusion probabilistic models",
arXiv:2006.11239; guidance without a classifier: Ho and Salimans 2022, arXiv:2207.12598.
"""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.grid import NUM_LEVELS, Grid
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.notes import Notes
from models.core.diffusion.schedule import Schedule


class DiffusionModel(GenerativeModel):
    """Images as z_0 = 2 x - 1, and a network eps(z_t, t, label).

    A subclass says what the network is; programs and samplers need nothing more.
    """

    likelihood = Likelihood.BOUND
    event_shape: tuple[int, int, int]
    grid: Grid

    def __init__(
        self, event_shape: tuple[int, int, int], schedule: Schedule, num_classes: int = 0
    ) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.schedule = schedule
        self.num_classes = num_classes
        self.grid = Grid(NUM_LEVELS)

    def notes(self) -> Notes:
        """Which of its likelihoods bound that of the chain, and which are of the ODE."""
        return Notes(
            "`bound` is the variational bound of all steps of the chain, `N_terms` by so many of "
            "them drawn at random; `estimate` is by the probability-flow ODE, of another model "
            "with the same network."
        )

    @abstractmethod
    def eps(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """The expected noise in z at time t, given a class or, with label -1, none.

        Shapes: z (B, C, H, W), t (B,) in [0, T], label (B,) int64 -> (B, C, H, W).
        """

    def denoise(self, z: Tensor, t: Tensor, label: Tensor, guidance_scale: Tensor) -> Tensor:
        """eps(none) + guidance_scale (eps(label) - eps(none)), in one network call.

        Only rows with a label and a scale other than 1 are looked at twice (2207.12598, eq. 6
        with w = guidance_scale - 1). Shapes: as `eps`, guidance_scale (B,) -> (B, C, H, W).
        """
        guided = ((label >= 0) & (guidance_scale != 1)).nonzero()[:, 0]
        if len(guided) == 0:
            return self.compute("eps", z, t, label)[0]
        free = torch.full_like(label[guided], -1)
        (both,) = self.compute(
            "eps",
            torch.cat([z, z[guided]]),
            torch.cat([t, t[guided]]),
            torch.cat([label, free]),
        )
        eps, without = both.split([len(z), len(guided)])
        scale = guidance_scale[guided].view(-1, 1, 1, 1).to(z.dtype)
        return eps.index_copy(0, guided, without + scale * (eps[guided] - without))

    def graphs(self) -> Mapping[str, Graph]:
        """The network; gradients in z need torch."""
        z = torch.zeros(2, *self.event_shape, device=self.device)
        t = torch.tensor([1.0, float(self.schedule.num_train_steps)], device=self.device)
        label = torch.tensor([-1, max(0, self.num_classes - 1)], device=self.device)
        if self.num_classes == 0:
            label = torch.full_like(label, -1)
        names = ("z", "time", "label")  # the exporter calls transposes t
        return {"eps": Graph(self._eps_graph, names, ("eps",), (z, t, label))}

    def _eps_graph(self, z: Tensor, t: Tensor, label: Tensor) -> tuple[Tensor]:
        return (self.eps(z, t, label),)

    def from_event(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] as clean data z_0 in [-1, 1]. Shapes: (B, C, H, W) -> same."""
        return 2 * x - 1

    def to_event(self, z: Tensor) -> Tensor:
        """The inverse of `from_event`, ends cut off. Shapes: (B, C, H, W) -> same."""
        return ((z + 1) / 2).clamp(0, 1)
