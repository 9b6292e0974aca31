"""The mean of a model's own loss: the same at a step whenever and after whatever it is asked."""

import torch

from models.core.contract.families import family
from tests.support.training.tiny import blobs
from training.fit.objective import MeanLoss


def test_the_noise_of_a_step_depends_on_its_number_alone() -> None:
    """A run that was cut off draws what it would have drawn: dequantisation noise here."""
    module = family("realnvp")
    model = module.Model(module.Config(event_shape=(1, 8, 8), num_levels=256))
    objective = MeanLoss(model, blobs(40), seed=3, batch_size=8)
    with torch.no_grad():
        first = [float(objective.losses(step)["loss"]) for step in range(3)]
        torch.manual_seed(99)
        again = [float(objective.losses(step)["loss"]) for step in (2, 0)]
        other = float(MeanLoss(model, blobs(40), seed=4, batch_size=8).losses(0)["loss"])
    assert again == [first[2], first[0]]
    assert len({*first, other}) == 4
