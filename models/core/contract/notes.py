"""What a model says of itself for people, in sentences that a card can hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notes:
    """Sentences about a kind of model; empty where there is nothing to say."""

    likelihood: str = ""
    """How its log likelihoods are meant, and the figures that only such models have."""
    trajectory: str = ""
    """How the steps from noise to a sample are meant."""
