"""Classifications that a screen decides about, and which screen that is."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from service.catalog.catalog import Catalog
from tests.support.service.apps import Client
from tests.support.service.pictures import PNG_HEADERS, png
from tests.support.service.screens import X


def ask(client: Client, path: str, x: torch.Tensor = X, **fields: Any) -> Any:
    """The answer about arrays."""
    response = client.post(path, json={"instances": x.tolist(), **fields})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_screen_of_a_model_decides_whatever_the_softmax_says(screens_client: Client) -> None:
    answer = ask(screens_client, "/classify", alpha=0.3)
    alone = ask(screens_client, "/ood_score", alpha=0.3)
    assert answer["model"].startswith("jem@")
    assert answer["screen"] == alone["model"]
    for result, scored in zip(answer["results"], alone["results"], strict=True):
        assert result["score_name"] == "screen"
        assert result["p_value"] == scored["p_value"]
        assert result["decision"] == ("uncertain" if scored["is_ood"] else "accept")
    assert {result["decision"] for result in answer["results"]} == {"uncertain", "accept"}
    assert answer["calibration"] == alone["calibration"]


def test_pac_decisions_follow_the_effective_alpha(screens_client: Client) -> None:
    # An alpha at one of the p-values, which the stricter rule does not reach.
    alpha = sorted(result["p_value"] for result in ask(screens_client, "/classify")["results"])[4]
    answer = ask(screens_client, "/classify", alpha=alpha, guarantee="pac")
    limit = answer["calibration"]["effective_alpha"]
    assert limit < alpha < 1
    for result in answer["results"]:
        assert result["decision"] == ("uncertain" if result["p_value"] <= limit else "accept")
    assert any(limit < result["p_value"] <= alpha for result in answer["results"])


def test_a_named_score_is_the_models_own(screens_client: Client) -> None:
    answer = ask(screens_client, "/classify", score="energy")
    assert answer["screen"] is None
    assert {result["score_name"] for result in answer["results"]} == {"energy"}


def test_a_screen_that_classifies_uses_its_own_score(screens_client: Client) -> None:
    answer = ask(screens_client, "/classify", model="screen", alpha=0.3)
    assert answer["screen"] == answer["model"]
    of_jem = ask(screens_client, "/classify", alpha=0.3)["results"]
    for found, other in zip(answer["results"], of_jem, strict=True):
        assert (found["p_value"], found["decision"]) == (other["p_value"], other["decision"])


def test_a_screen_gets_the_picture_in_its_own_form(screens_client: Client) -> None:
    picture = png(seed=4)
    answer = screens_client.post(
        "/classify?model=jem_raw", content=picture, headers=PNG_HEADERS
    ).json()
    url = "/ood_score?model=blind"
    alone = screens_client.post(url, content=picture, headers=PNG_HEADERS).json()
    assert answer["screen"] == alone["model"]
    assert answer["results"][0]["p_value"] == alone["results"][0]["p_value"]
    assert any("for the screen: inverted" in n for n in answer["results"][0]["converted"])
    plain = screens_client.post("/classify?model=jem", content=picture, headers=PNG_HEADERS).json()
    assert plain["results"][0]["converted"] == []


def test_a_screen_rounds_arrays_to_its_grid_and_says_so(screens_client: Client) -> None:
    rough = ask(screens_client, "/classify", X[1:2] + 0.3 / 255)["results"][0]
    assert rough["converted"] == ["for the screen: rounded to 256 grey levels"]
    assert rough["p_value"] == ask(screens_client, "/classify", X[1:2])["results"][0]["p_value"]


def test_the_list_of_models_says_which_screen_decides(screens_client: Client) -> None:
    found = {model["name"]: model for model in screens_client.get("/models").json()["models"]}
    assert found["jem"]["screen"].startswith("screen@")
    assert found["jem_raw"]["screen"].startswith("blind@")
    assert [name for name, model in found.items() if model["default_screen"]] == ["screen"]
    assert [name for name, model in found.items() if model["default"]] == ["jem"]
    assert screens_client.get("/models/screen").json()["likelihood"] is None


def test_a_broken_upload_is_refused_for_both(screens_client: Client) -> None:
    response = screens_client.post("/classify", files={"files": b"no image"})
    assert response.status_code == 422
    assert response.json()["type"] == "/problems/invalid-image"


def catalog_of(client: Client) -> Catalog:
    """What the service has loaded."""
    catalog: Catalog = client.app.state.service.catalog
    return catalog


def test_of_two_screens_for_a_model_the_default_one_decides(screens_client: Client) -> None:
    catalog = catalog_of(screens_client)
    jem, screen = catalog.models["jem"], catalog.models["screen"]
    models = {"another": replace(screen, name="another"), **catalog.models}
    assert Catalog(models, {}, "jem", "screen").screen_of(jem) is screen
    assert Catalog(models, {}, "jem", "another").screen_of(jem) is models["another"]
    assert Catalog(models, {}, "jem", "none").screen_of(jem) is models["another"]
    assert Catalog(models, {}, "jem", "none").find_screen(None) is models["another"]
    assert Catalog({"jem": jem}, {}, "jem", "none").find_screen(None) is jem


@pytest.mark.parametrize("unfit", ["shape", "calibration"])
def test_a_screen_that_cannot_judge_is_passed_over_with_a_note(
    screens_client: Client, monkeypatch: pytest.MonkeyPatch, unfit: str
) -> None:
    catalog = catalog_of(screens_client)
    screen = catalog.models["screen"]
    if unfit == "shape":
        screen = replace(screen, event_shape=(1, 9, 9))
    else:
        screen = replace(screen, calibrations={})
    models = {**catalog.models, "screen": screen}
    unfit_catalog = Catalog(models, {}, "jem", "screen")
    monkeypatch.setattr(screens_client.app.state.service, "_catalog", unfit_catalog)
    answer = ask(screens_client, "/classify")
    assert answer["screen"] is None
    assert {result["score_name"] for result in answer["results"]} == {"energy"}
    assert ("(1, 9, 9)" if unfit == "shape" else "without calibration scores") in answer["note"]
