"""Sylvester flow by reverse KL on a potential of Rezende and Mohamed: a wave that falls in two."""

from dataclasses import replace

from training.recipes import sylvester_potential_1

_RING = sylvester_potential_1.RECIPE

RECIPE = replace(
    _RING,
    dataset="potential-4",
    objective_settings={
        **_RING.objective_settings,
        "target": "potential-4",
        "num_updates": 2500,
    },
    ood_sets={"potential-1": False, "potential-2": False, "potential-3": False},
)
