"""What every invertible map must keep, judged by autograd and linear algebra in float64."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from models.core.transforms.transform import Transform


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """The same random numbers whenever, and the generator afterwards as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def wild(module: nn.Module, spread: float = 0.3, seed: int = 0) -> nn.Module:
    """In float64, with noise on every weight: much starts at zero, which would hide it."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=spread)
    return module.requires_grad_(False)


def draws(num: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Standard normal in float64. -> (num, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, *shape, generator=generator, dtype=torch.float64)


def log_abs_det(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of the Jacobian of every row, by autograd. Shapes: (B, *in) -> (B,)."""
    found = []
    for row in x:
        jacobian = torch.autograd.functional.jacobian(lambda v: function(v[None])[0], row)
        square = jacobian.reshape(row.numel(), row.numel())
        found.append(torch.linalg.slogdet(square).logabsdet)
    return torch.stack(found)


def assert_invertible(
    transform: Transform, x: Tensor, atol: float = 1e-8, *, bisected: bool = False
) -> None:
    """Both directions agree with autograd and undo each other. Shapes: x (B, *in), float64.

    Autograd sees nothing of an inverse found by bisection, which then has to agree with the other
    direction.
    """
    z, forward = transform(x)
    back, inverse = transform.inverse(z)
    close = partial(torch.testing.assert_close, atol=atol, rtol=0)
    assert forward.shape == inverse.shape == (len(x),)
    close(back, x)
    close(forward, log_abs_det(lambda v: transform(v)[0], x))
    expected = -forward if bisected else log_abs_det(lambda v: transform.inverse(v)[0], z)
    close(inverse, expected)
