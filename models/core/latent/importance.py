"""The importance-weighted bound on log p(x) of a latent-variable model, as a program of steps.

Burda et al. 2016, "Importance weighted autoencoders", arXiv:1509.00519, equation 8.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import event_seeds, normal
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.latent.density import LatentDensity


@dataclass(frozen=True)
class ImportanceParams:
    """How many latents are drawn from q(z given x) for each event."""

    num_samples: Annotated[
        int, Field(ge=1, le=10_000, description="latents K; the bound tightens with K")
    ] = 16


class ImportanceLogLikelihood(Operation[ImportanceParams]):
    """log mean_k p(x, z_k) / q(z_k given x): in expectation a BOUND, rising with K to log p(x).

    The noise is a function of the request's seed, the event and k, so that an event's number does
    not depend on its place in the request, and the latents of few are the first of many. A row
    takes up to `model.samples_per_step` latents a step, so that rows with other K share steps.
    """

    Params = ImportanceParams
    outputs = columns(log_prob=(), standard_error=())
    shares_seed = True

    def __init__(self, model: LatentDensity) -> None:
        self.model = model
        self.graphs = ("statistics", *model.decoder_graphs)

    @property
    def default_params(self) -> ImportanceParams:
        return ImportanceParams(self.model.config.num_samples)

    @property
    def examples(self) -> tuple[ImportanceParams, ...]:
        return (ImportanceParams(1), ImportanceParams(self.model.samples_per_step + 3))

    def kind(self, params: ImportanceParams) -> Likelihood:
        return Likelihood.BOUND

    def num_steps(self, params: ImportanceParams) -> int:
        return -(-params.num_samples // self.model.samples_per_step)

    def init(self, inputs: Rows, params: ImportanceParams) -> Rows:
        x = self.model.on_grid(inputs["x"].to(self.model.device))
        size = num_rows(inputs)
        # The error is a difference of these, which are hundreds of nats: float32 would lose it.
        nothing = torch.full((size,), -torch.inf, dtype=torch.float64, device=x.device)
        return {
            "x": x,
            "seed": event_seeds(inputs["seed"], x),
            "step": torch.zeros(size, dtype=torch.int64),
            # On the CPU, where it is decided what a row still needs.
            "num_samples": torch.full((size,), params.num_samples),
            "statistics": x.new_zeros(size, self.model.posterior.num_statistics),
            "log_sum": nothing,
            "log_sum_of_squares": nothing,
        }

    def step(self, rows: Rows) -> Rows:
        """The encoder for rows that begin, then the next latents of every row."""
        x, statistics = rows["x"], rows["statistics"]
        begin = (rows["step"] == 0).nonzero()[:, 0].to(x.device)
        if len(begin):
            (begun,) = self.model.compute("statistics", x[begin])
            statistics = statistics.index_copy(0, begin, begun)
        log_weight = self._log_weights({**rows, "statistics": statistics}).double()
        return {
            **rows,
            "step": rows["step"] + 1,
            "statistics": statistics,
            "log_sum": torch.logaddexp(rows["log_sum"], log_weight.logsumexp(1)),
            "log_sum_of_squares": torch.logaddexp(
                rows["log_sum_of_squares"], (2 * log_weight).logsumexp(1)
            ),
        }

    def _log_weights(self, rows: Rows) -> Tensor:
        """Log weights of this step's latents; minus infinity where a row needs none. -> (B, S)."""
        most, device = self.model.samples_per_step, rows["x"].device
        index = rows["step"][:, None] * most + torch.arange(most)
        row, place = (index < rows["num_samples"][:, None]).nonzero(as_tuple=True)
        eps = normal(rows["seed"], rows["step"], (most, self.model.num_latents))[row, place]
        row, place = row.to(device), place.to(device)
        x, statistics = rows["x"], rows["statistics"][row]
        log_weight = self.model.log_weight(x[row], statistics, eps.to(x))
        nothing = log_weight.new_full((len(x), most), -torch.inf)
        return nothing.index_put((row, place), log_weight)

    def finish(self, rows: Rows) -> Rows:
        """standard_error by the delta method; NaN where one sample cannot tell."""
        log_sum = rows["log_sum"]
        num = rows["num_samples"].to(log_sum)
        ratio = (rows["log_sum_of_squares"] - 2 * log_sum + num.log()).exp()
        error = ((ratio - 1).clamp(min=0) / (num - 1)).sqrt()
        return {
            "log_prob": (log_sum - num.log()).float(),
            "standard_error": torch.where(num > 1, error, torch.nan).float(),
        }
