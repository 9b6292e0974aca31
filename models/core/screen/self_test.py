"""Pictures that depend on nothing, and whether scores of them are still what they once were.

A score hangs on more than weights: on the machine's zlib, on a runtime, on constants in this code.
If one of these changes, p-values are wrong and no error says so, unless known images are looked at.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.core.contract.rows import Rows, concat

NUM = 4
_TOLERANCE = 0.02
"""Change that a z-value may show, in standard deviations, and as a share of it beyond one."""


def pictures(event_shape: tuple[int, ...]) -> Tensor:
    """Waves on black, a slope, a disc and a fine pattern, with other phases in other colours.

    Shapes: (C, H, W) -> (4, C, H, W) in [0, 1], a function of the shape alone.
    """
    channels, height, width = event_shape
    row = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None]
    column = torch.linspace(-1, 1, width, dtype=torch.float64)
    inside = (row**2 + column**2 < 0.6).double()
    colours = []
    for phase in range(channels):
        waves = 0.5 + 0.5 * torch.sin(2 * math.pi * (1.7 * row + 0.9 * column) + phase)
        fine = 0.5 + 0.5 * torch.sin(11 * row * column + 23 * row + phase)
        slope = (2 + row - column) / 4
        colours.append(torch.stack([waves * inside, slope, 0.8 * inside, fine]))
    return torch.stack(colours, 1).float()


def verify(z: Tensor, expected: Tensor, names: Sequence[str]) -> None:
    """Compare z-values of the pictures with stored ones. Shapes: (4, J) each, J names.

    Raises ValueError, naming the score that is farthest off.
    """
    off = (z - expected).abs() / (1 + expected.abs())
    if bool((off <= _TOLERANCE).all()):
        return
    at = int(off.nan_to_num(nan=math.inf).argmax())
    i, j = divmod(at, z.shape[1])
    raise ValueError(
        f"score {names[j]} gives z {float(z[i, j]):.3f} where it gave {float(expected[i, j]):.3f} "
        "when it was calibrated: a library or a constant is another one here, and p-values would "
        "be wrong; calibrate the bundle anew with images of its own kind"
    )


def noise(num: int, event_shape: tuple[int, ...]) -> Tensor:
    """Noise that never changes, every second image of it darker. -> (num, C, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(num, *event_shape, generator=generator)
    x[::2] = x[::2] * (torch.rand(len(x[::2]), 1, 1, 1, generator=generator))
    return x


def same_in_company(columns: Callable[[Tensor], Rows], x: Tensor) -> bool:
    """Whether every image has the very bits alone that it has with those before it.

    `columns` is tried with the first 2, 3, ... images. Shapes: (N, C, H, W).
    """
    alone = concat([columns(row) for row in x.split(1)])
    return all(
        torch.equal(values, alone[name][:size])
        for size in range(2, len(x) + 1)
        for name, values in columns(x[:size]).items()
    )
