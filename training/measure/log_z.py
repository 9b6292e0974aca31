"""The constant log Z of an energy model, estimated once and kept with its weights."""

import torch
from rich.progress import track

from models.core.contract.noise import row_seeds
from models.core.energy.ais import AISParams, AnnealedImportance, log_mean_exp
from models.core.energy.model import EnergyModel


@torch.no_grad()
def estimate_log_z(model: EnergyModel, num_chains: int, num_steps: int) -> dict[str, float]:
    """Set the model's log_z by annealed importance sampling; the figures for the card."""
    params = AISParams(num_steps=num_steps, num_leapfrog=2, step_size=0.1)
    mask = torch.zeros(num_chains, model.num_outputs)
    operation = AnnealedImportance(
        lambda x: _pair(model.compute("energy_grad", x, mask)), model.event_shape
    )
    rows = operation.init({"seed": row_seeds(1, num_chains)}, params)
    for _ in track(range(operation.num_steps(params)), "annealed importance sampling"):
        rows = operation.step(rows)
    result = operation.finish(rows)
    log_z, error = log_mean_exp(result["log_weight"])
    model.log_z.fill_(log_z)
    model.log_z_standard_error.fill_(error)
    return {
        "log_z_nats": log_z,
        "log_z_standard_error_nats": error,
        "ais_acceptance": float(result["acceptance"].mean()),
        "ais_chains": float(num_chains),
        "ais_steps": float(params.num_steps),
    }


def _pair(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    energy, grad = tensors
    return energy, grad
