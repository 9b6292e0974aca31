"""Out-of-distribution scores by name: from what a model says of an event to how strange it is.

One orientation for ever: a higher score is stranger. What a number means is said by
`models.core.calibration.conformal`.
"""

from collections.abc import Iterable

from models.core.ood.of_autoencoder import LATENT_SCORES
from models.core.ood.of_classifier import ENERGY_SCORES
from models.core.ood.of_denoiser import DIFFUSION_SCORES
from models.core.ood.of_flow import FLOW_SCORES
from models.core.ood.of_likelihood import LIKELIHOOD_SCORES
from models.core.ood.score import Score

__all__ = ["SCORES", "Score"]

SCORES: dict[str, Score] = {
    **ENERGY_SCORES,
    **LIKELIHOOD_SCORES,
    **DIFFUSION_SCORES,
    **FLOW_SCORES,
    **LATENT_SCORES,
    "screen": Score(
        "screen",
        ("score",),
        "nats, doubled",
        "Fisher's sum -2 log P(Z > z) over the components' one-sided z-values, as a score that a "
        "calibration judges, not as a test (Fisher 1932).",
        lambda rows, _: rows["score"],
    ),
}
"""All scores by name; each has its unit, its source and the operation that it is made of."""


def check_known(names: Iterable[str]) -> None:
    """See that all of them are scores. Raises ValueError, naming those that are none."""
    if unknown := set(names) - set(SCORES):
        raise ValueError(f"unknown scores {sorted(unknown)}: accepted are {', '.join(SCORES)}")
