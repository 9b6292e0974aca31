"""Fixed-point arithmetic, whose results do not depend on machine, batch or kernel.

Activations are multiples of 2^-14 and weights of 2^-20, both held in float64. All products and
partial sums of a linear layer are then integers below 2^53 times one power of two, so float64
adds them without rounding, in whatever order a kernel likes. Between the layers stand only what
IEEE 754 rounds correctly (+ - * / round) and tables, since exp and tanh differ in the last bit
from library to library; the tables themselves are made of integers and divisions.
"""

import zlib
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import torch
from torch import Tensor

FRACTION_BITS = 14
"""Activations are multiples of 2^-FRACTION_BITS."""
REACH = 2.0**9
"""Activations are clipped to [-REACH, REACH] where a layer reads them."""
ONE = 2.0**28
"""What stands for 1 in the tables of probabilities."""
SPAN = 20
"""exp(-t) and sigmoid(t) are tabled for t up to here; then they are 0 and 1 on this scale."""

_VERSION = 1
_UNITS = 2.0**FRACTION_BITS
_COARSE_BITS = 5
_TANH_SPAN = 6  # from here tanh rounds to 1


def to_fixed_point(x: Tensor) -> Tensor:
    """The nearest multiple of 2^-14. Shapes: float64 (...) -> (...)."""
    return (x * _UNITS).round_().mul_(1 / _UNITS)


def exp(t: Tensor) -> Tensor:
    """ONE * exp(t) in whole numbers, of t <= 0 in fixed point. Shapes: (...) -> (...)."""
    return _look_up("exp", -t)


def sigmoid(t: Tensor) -> Tensor:
    """ONE * sigmoid(t) in whole numbers, of t rounded to fixed point. Shapes: (...) -> (...)."""
    upper = _look_up("sigmoid", t.abs())
    return torch.where(t < 0, ONE - upper, upper)


def tanh(x: Tensor) -> Tensor:
    """tanh(x) in fixed point, as x is. Shapes: (...) -> (...)."""
    return _look_up("tanh", x.abs()).copysign(x)


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x) in fixed point, as x is, within REACH. Shapes: (...) -> (...)."""
    x = x.clamp(-REACH, REACH)
    return to_fixed_point(x * sigmoid(x) * (1 / ONE))


def backend_id() -> str:
    """The arithmetic's name: its version and a checksum of its constants and tables.

    Two machines decode each other's codes if this is the same on both.
    """
    constants = (FRACTION_BITS, REACH, ONE, SPAN, _COARSE_BITS, _TANH_SPAN)
    checksum = zlib.crc32(repr(constants).encode())
    for _, table in sorted(_tables().items()):
        checksum = zlib.crc32(table.astype("<f8").tobytes(), checksum)
    return f"fx{_VERSION}-{checksum:08x}"


def _look_up(name: str, t: Tensor) -> Tensor:
    """The entry at t >= 0, or the last one. Shapes: (...) -> (...)."""
    table = _table_on(name, str(t.device))
    index = (t * _UNITS).round_().clamp_(max=len(table) - 1).long()
    return table[index]


@cache
def _table_on(name: str, device: str) -> Tensor:
    return torch.from_numpy(_tables()[name]).to(device)


@cache
def _tables() -> dict[str, np.ndarray]:
    """The tables, by integers and correctly rounded operations only: equal on every machine."""
    # exp(-n 2^-14) = exp(-i / 32) exp(-j 2^-14), with both factors rounded from exact decimals.
    fine_bits = FRACTION_BITS - _COARSE_BITS
    coarse = _decimal_exp(SPAN << _COARSE_BITS, _COARSE_BITS)
    fine = _decimal_exp(1 << fine_bits, FRACTION_BITS)
    products = (coarse[:, None] * fine[None, :]) >> 32
    exps = np.append(products.ravel(), 0).astype(np.float64)
    doubled = exps[: 2 * (_TANH_SPAN << FRACTION_BITS) + 1 : 2]
    return {
        "exp": exps,
        "sigmoid": np.rint(ONE * ONE / (ONE + exps)),
        "tanh": np.rint((ONE - doubled) / (ONE + doubled) * _UNITS) / _UNITS,
    }


def _decimal_exp(num: int, bits: int) -> np.ndarray:
    """2^30 exp(-i 2^-bits) to the nearest integer, for i below num: decimals round correctly."""
    with localcontext() as context:
        context.prec = 40
        values = [(Decimal(-i) / (1 << bits)).exp() * (1 << 30) for i in range(num)]
        return np.array([int(value.to_integral_value()) for value in values], dtype=np.int64)
