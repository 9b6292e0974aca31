"""The standard normal distribution."""

from torch import Tensor


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats. Shapes: (B, ...) -> (B,)."""
    log_norm = 0.9189385332046727  # ln(2 pi) / 2
    return -(0.5 * z.square() + log_norm).flatten(1).sum(1)
