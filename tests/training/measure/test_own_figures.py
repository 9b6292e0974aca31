"""Each model gets the figures that it names, and no others."""

import pytest

from models.core.contract.families import families
from tests.support.models.tiny import random_model
from tests.support.training.tiny import blobs
from training.fit.recipe import Report
from training.measure import own_figures
from training.measure.latents import pictures

OWN = {
    "ebm": {"log_z_nats", "log_z_standard_error_nats", "ais_acceptance", "ais_chains", "ais_steps"},
    "realnvp": {"inverse_error_float32_max", "values_changed_by_round_trip"},
    "made": set(),
}


@pytest.mark.parametrize("family", OWN)
def test_a_model_gets_the_figures_of_its_kind(family: str) -> None:
    model, test = random_model(family, event_shape=(1, 8, 8)), blobs(20)
    figures = own_figures.own_figures(model, test, Report(ais_chains=4, ais_steps=2))
    assert set(figures) == OWN[family]
    assert not own_figures.own_pictures(model, test)
    assert not pictures(model, test)
    if family == "ebm":
        assert figures["log_z_nats"] == pytest.approx(float(model.state_dict()["log_z"]))
        assert (figures["ais_chains"], figures["ais_steps"]) == (4, 2)


def test_every_name_that_a_family_gives_is_known() -> None:
    named = {name for family in families() for name in random_model(family).own_figures}
    assert named == set(own_figures._FIGURES) >= set(own_figures._PICTURES)
