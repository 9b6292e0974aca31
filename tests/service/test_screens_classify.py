"""Classifications that a screen decides about, and which screen that is."""

from typing import Any

import torch

from tests.service.conftest import PNG_HEADERS, Client
from tests.service.pictures import png
from tests.service.screens import X


def ask(client: Client, path: str, x: torch.Tensor = X, **fields: Any) -> Any:
    """The answer about arrays."""
    response = client.post(path, json={"instances": x.tolist(), **fields})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_screen_of_a_model_decides_whatever_the_softmax_says(screens: Client) -> None:
    answer = ask(screens, "/classify", alpha=0.3)
    alone = ask(screens, "/ood_score", alpha=0.3)
    assert answer["model"].startswith("jem@")
    assert answer["screen"] == alone["model"]
    for result, scored in zip(answer["results"], alone["results"], strict=True):
        assert result["score_name"] == "screen"
        assert result["p_value"] == scored["p_value"]
        assert result["decision"] == ("uncertain" if scored["is_ood"] else "accept")
    assert {result["decision"] for result in answer["results"]} == {"uncertain", "accept"}
    assert answer["calibration"] == alone["calibration"]


def test_pac_decisions_follow_the_effective_alpha(screens: Client) -> None:
    answer = ask(screens, "/classify", alpha=0.3, guarantee="pac")
    limit = answer["calibration"]["effective_alpha"]
    assert limit < 0.3
    for result in answer["results"]:
        assert result["decision"] == ("uncertain" if result["p_value"] <= limit else "accept")


def test_a_named_score_is_the_models_own(screens: Client) -> None:
    answer = ask(screens, "/classify", score="energy")
    assert answer["screen"] is None
    assert {result["score_name"] for result in answer["results"]} == {"energy"}


def test_a_screen_that_classifies_uses_its_own_score(screens: Client) -> None:
    answer = ask(screens, "/classify", model="screen", alpha=0.3)
    assert answer["screen"] == answer["model"]
    of_jem = ask(screens, "/classify", alpha=0.3)["results"]
    for found, other in zip(answer["results"], of_jem, strict=True):
        assert (found["p_value"], found["decision"]) == (other["p_value"], other["decision"])


def test_a_screen_gets_the_picture_in_its_own_form(screens: Client) -> None:
    picture = png(seed=4)
    answer = screens.post("/classify?model=jem_raw", content=picture, headers=PNG_HEADERS).json()
    url = "/ood_score?model=blind"
    alone = screens.post(url, content=picture, headers=PNG_HEADERS).json()
    assert answer["screen"] == alone["model"]
    assert answer["results"][0]["p_value"] == alone["results"][0]["p_value"]
    assert any("for the screen: inverted" in n for n in answer["results"][0]["converted"])
    plain = screens.post("/classify?model=jem", content=picture, headers=PNG_HEADERS).json()
    assert plain["results"][0]["converted"] == []


def test_a_screen_rounds_arrays_to_its_grid_and_says_so(screens: Client) -> None:
    rough = ask(screens, "/classify", X[1:2] + 0.3 / 255)["results"][0]
    assert rough["converted"] == ["for the screen: rounded to 256 grey levels"]
    assert rough["p_value"] == ask(screens, "/classify", X[1:2])["results"][0]["p_value"]


def test_the_list_of_models_says_which_screen_decides(screens: Client) -> None:
    found = {model["name"]: model for model in screens.get("/models").json()["models"]}
    assert found["jem"]["screen"].startswith("screen@")
    assert found["jem_raw"]["screen"].startswith("blind@")
    assert [name for name, model in found.items() if model["default_screen"]] == ["screen"]
    assert [name for name, model in found.items() if model["default"]] == ["jem"]
    assert screens.get("/models/screen").json()["likelihood"] is None


def test_a_broken_upload_is_refused_for_both(screens: Client) -> None:
    response = screens.post("/classify", files={"files": b"no image"})
    assert response.status_code == 422
    assert response.json()["type"] == "/problems/invalid-image"
