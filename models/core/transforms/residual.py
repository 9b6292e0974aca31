"""Residual blocks z = x + g(x) with Lip(g) < 1: their log-determinants and their inverse.

Behrmann et al. 2019, "Invertible Residual Networks", arXiv:1811.00995; Chen et al. 2019, "Residual
Flows for Invertible Generative Modeling", arXiv:1906.02735. With J = dg/dx,
log det(I + J) = sum_k (-1)^(k+1) tr(J^k) / k.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vjp, vmap

from models.core.nn.lipschitz_net import LipschitzNet
from models.core.transforms.transform import Transform

LogDet = Callable[[LipschitzNet, Tensor], tuple[Tensor, Tensor]]
"""g and x (B, *shape) to g(x) (B, *shape) and log det(I + J), exact or not, (B,), nats."""

_ROWS = 8192  # of Jacobians at once, so that many rows do not fill the memory
_REACH = 1e3  # how far from its target an inverse is looked for


def exact(net: LipschitzNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """A `LogDet` by all D rows of the Jacobian, differentiable. Costs D backward passes of g."""
    pairs = [_exact(net, rows) for rows in x.split(max(1, _ROWS // x[0].numel()))]
    return torch.cat([g for g, _ in pairs]), torch.cat([log_det for _, log_det in pairs])


def _exact(net: LipschitzNet, x: Tensor) -> tuple[Tensor, Tensor]:
    num_dims = x[0].numel()
    basis = torch.eye(num_dims, dtype=x.dtype, device=x.device)
    g, times = _pulled(net, x)
    rows = times(basis.view(num_dims, 1, *x.shape[1:]).expand(-1, *x.shape))
    jacobian = rows.flatten(2).transpose(0, 1)
    # The sign is plus: the determinant is 1 at J = 0, and 0 nowhere on the way to J.
    return g, torch.linalg.slogdet(basis + jacobian).logabsdet


def _pulled(net: LipschitzNet, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """g(x), and several v a row to v^T J: (P, B, *shape) -> (P, B, *shape)."""
    g, pull, *_ = vjp(net, x)
    return g, vmap(lambda v: pull(v)[0])


def unasked(net: LipschitzNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """A `LogDet` that leaves it 0, for those who ask for the value only."""
    return net(x), x.new_zeros(len(x))


def truncated(
    net: LipschitzNet, x: Tensor, probes: Tensor, num_terms: int
) -> tuple[Tensor, Tensor]:
    """g(x), and of the first terms of the series one estimate a probe (Hutchinson).

    Shapes: x (B, *shape), probes (P, B, *shape) of independent signs -> (B, *shape), (P, B) nats.
    On average over probes no further than `remainder` from log det(I + J).
    """
    g, times = _pulled(net, x)
    power, total = probes, probes.new_zeros(probes.shape[:2])
    for k in range(1, num_terms + 1):
        power = times(power)
        total = total - (-1) ** k / k * (power * probes).flatten(2).sum(2)
    return g, total


def remainder(lipschitz: float, num_dims: int, num_terms: int) -> float:
    """The most that the terms after `num_terms` can sum up to, in nats a block.

    |tr J^k| <= D Lip^k (Behrmann et al. 2019, theorem 3), and D Lip^(n + 1) / ((n + 1) (1 - Lip))
    is larger still.
    """
    first = sum(lipschitz**k / k for k in range(1, num_terms + 1))
    return num_dims * (-math.log1p(-lipschitz) - first)


@dataclass(frozen=True)
class Roulette:
    """A `LogDet` for training: unbiased, and so is its gradient (Chen et al. 2019, section 3).

    The first terms are always computed; each further one with the chance `go_on` after the one
    before it, and weighs the more for it. The gradient is that of equation 8 (Neumann series): it
    needs one differentiable product with J, whatever the number of terms.
    """

    num_exact: int = 4
    go_on: float = 0.5

    def __post_init__(self) -> None:
        if self.num_exact < 1 or not 0 <= self.go_on < 1:
            settings = f"num_exact {self.num_exact}, go_on {self.go_on}"
            raise ValueError(f"{settings}: accepted are 1 and more, and 0 up to, not including, 1")

    def weights(self) -> list[float]:
        """Weights of the terms up to the last that is drawn: 1 / P(the term is drawn)."""
        num = 0
        while float(torch.rand(())) < self.go_on:
            num += 1
        return [1.0] * self.num_exact + [self.go_on**-j for j in range(1, num + 1)]

    def __call__(self, net: LipschitzNet, x: Tensor) -> tuple[Tensor, Tensor]:
        """Draws from torch's generator: the number of terms for all rows, a probe for each."""
        with torch.inference_mode(False), torch.enable_grad():
            # What comes out of inference mode cannot be differentiated, a copy can.
            x = x.clone() if x.requires_grad else x.clone().requires_grad_()
            g = net(x)
            probe = torch.randint(0, 2, x.shape, device=x.device).to(x.dtype) * 2 - 1
            power = inverse = probe
            value = x.new_zeros(len(x))
            for k, weight in enumerate(self.weights(), 1):
                (power,) = torch.autograd.grad(g, x, power, retain_graph=True)
                value = value - weight * (-1) ** k / k * (power * probe).flatten(1).sum(1)
                inverse = inverse + weight * (-1) ** k * power
            # d log det(I + J) = tr((I + J)^-1 dJ), with the inverse as a series of its own.
            (product,) = torch.autograd.grad(g, x, inverse, create_graph=True)
            slope = (product * probe).flatten(1).sum(1)
            return g, slope + (value - slope).detach()


class ResidualBlock(Transform):
    """z = x + g(x), after `entry`. Shapes: (B, D) <-> (B, D), whatever the shape inside."""

    def __init__(
        self,
        outer: tuple[int, ...],
        inner: tuple[int, ...],
        entry: Transform,
        net: LipschitzNet,
    ) -> None:
        """`entry` takes (B, *outer) to (B, *inner), where `net` is at home."""
        super().__init__()
        self.outer = outer
        self.inner = inner
        self.entry = entry
        self.net = net

    def by(self, log_det: LogDet, h: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` by another way to the log-determinant."""
        x, log_abs_det = self.enter(h)
        g, of_residual = log_det(self.net, x)
        return (x + g).flatten(1), log_abs_det + of_residual

    def enter(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """What g sees, and the log-determinant up to there. Shapes: (B, D) -> (B, ...), (B,)."""
        x, log_abs_det = self.entry(h.unflatten(1, self.outer))
        return x, log_abs_det

    def leave(self, x: Tensor) -> Tensor:
        """`enter` backwards, of x as a vector. Shapes: (B, D) -> (B, D)."""
        h: Tensor = self.entry.inverse(x.unflatten(1, self.inner))[0]
        return h.flatten(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.by(exact, x)

    def initialise(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            entered = self.entry.initialise(x.unflatten(1, self.outer))
            return (entered + self.net(entered)).flatten(1)

    def refined(self, z: Tensor, guess: Tensor, tolerance: Tensor) -> tuple[Tensor, Tensor]:
        """A better guess at x, and whether it has moved by no more than `tolerance`, relative to
        the largest |z| if that is above 1.

        The iteration contracts by Lip(g) (Behrmann et al. 2019, algorithm 1). Shapes: (B, D),
        (B, D), tolerance (B,) -> (B, D), bool (B,).
        """
        x = guess.unflatten(1, self.inner)
        refined = z - self.net(x).flatten(1)
        moved = (refined - guess).abs().amax(1)
        return refined, moved <= tolerance * z.abs().amax(1).clamp(min=1)

    def num_passes(self, tolerance: float) -> int:
        """Passes after which the iteration is within `tolerance` of x, from 1000 away."""
        return math.ceil(math.log(tolerance * (1 - self.net.cap) / _REACH, self.net.cap))

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h = self.solved(z)
        return h, -self(h)[1]

    def solved(self, z: Tensor, tolerance: float = 0.0) -> Tensor:
        """The inverse, every row to its own end; 0: as far as its precision goes. -> (B, D)."""
        size = tolerance or (3e-7 if z.dtype == torch.float32 else 1e-13)
        tolerances = z.new_full((len(z),), size)
        x, done = z, torch.zeros(len(z), dtype=torch.bool, device=z.device)
        for _ in range(self.num_passes(size)):
            refined, still = self.refined(z, x, tolerances)
            x = torch.where(done[:, None], x, refined)
            done = done | still
            if bool(done.all()):
                break
        return self.leave(x)
