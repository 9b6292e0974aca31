"""A flow as a model: what it offers."""

from collections.abc import Mapping
from typing import Any

from models.core.contract.operation import Operation
from models.core.derived.log_likelihood import likelihood_operations
from models.core.flow.density import FlowDensity
from models.core.flow.latent_fit import LatentFit
from models.core.flow.programs import FlowDecode, FlowEncode, FlowLogLikelihood, FlowSample


class FlowModel(FlowDensity):
    """A flow that samples, says how likely an event is, and goes between events and latents."""

    def operations(self) -> Mapping[str, Operation[Any]]:
        log_likelihood = FlowLogLikelihood(self)
        return {
            "sample": FlowSample(self),
            **likelihood_operations(self, log_likelihood),
            "encode": FlowEncode(self),
            "decode": FlowDecode(self),
            "latent_fit": LatentFit(self),
        }
