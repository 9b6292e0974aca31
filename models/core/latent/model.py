"""A density with latents as a model: what all of them offer."""

from collections.abc import Mapping
from typing import Any

from models.core.contract.operation import Operation
from models.core.derived.log_likelihood import likelihood_operations
from models.core.latent.density import LatentDensity
from models.core.latent.importance import ImportanceLogLikelihood
from models.core.latent.programs import LatentEncode


class LatentModel(LatentDensity):
    """A density with latents that says a bound and encodes; decoders add what they can."""

    def operations(self) -> Mapping[str, Operation[Any]]:
        log_likelihood = ImportanceLogLikelihood(self)
        return {
            **likelihood_operations(self, log_likelihood),
            "encode": LatentEncode(self),
        }
