"""Screens at work: components, guarantees, groups, and classifications that they decide about."""

from typing import Any

import pytest
import torch

from models.core.bundle.bundle import load
from models.core.calibration.group import group_test
from models.core.calibration.pac import pac_rank, rate_bound
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from service.catalog.loaded import LoadedModel, shelve
from tests.support.service.apps import Client
from tests.support.service.bundles import CLASS_NAMES
from tests.support.service.screens import NUM, SCREENED, X


@pytest.fixture(scope="module")
def screen(screens_client: Client) -> LoadedModel:
    """The default screen as the worker has it, to ask it without the engine."""
    (place,) = [
        url for url in screens_client.app.state.service.settings.bundles if "screens" in url
    ]
    return shelve(load(f"{place}/screen"))


def offline(screen: LoadedModel, x: torch.Tensor = X) -> Rows:
    """What the screen says of the same images."""
    return run(screen.operations["screen"], {"x": x}, None)


def ask(client: Client, path: str, x: torch.Tensor = X, **fields: Any) -> Any:
    """The answer about arrays."""
    response = client.post(path, json={"instances": x.tolist(), **fields})
    assert response.status_code == 200, response.text
    return response.json()


def refused(client: Client, path: str, **fields: Any) -> str:
    """Why a request about the same images is not valid."""
    response = client.post(path, json={"instances": X.tolist(), **fields})
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["detail"])


def test_the_default_screen_says_what_its_components_found(
    screens_client: Client, screen: LoadedModel
) -> None:
    answer = ask(screens_client, "/ood_score", alpha=0.1)
    rows = offline(screen)
    calibration = screen.bundle.calibrations["screen"]
    assert answer["model"].startswith("screen@")
    for i, result in enumerate(answer["results"]):
        assert result["score_name"] == "screen"
        assert result["score"] == pytest.approx(float(rows["score"][i]), rel=1e-5)
        rank = (1 + int((calibration.scores >= rows["score"][i]).sum())) / (NUM + 1)
        assert result["p_value"] == rank
        assert result["is_ood"] == (rank <= 0.1)
        assert result["category"] == CLASS_NAMES[int(rows["category"][i])]
        assert result["standard_error"] is None
        assert list(result["components"]) == list(SCREENED)
        for j, found in enumerate(result["components"].values()):
            assert found["score"] == pytest.approx(float(rows["scores"][i, j]), rel=1e-5)
            assert found["z"] == pytest.approx(float(rows["z"][i, j]), rel=1e-5, abs=1e-6)
    assert {result["is_ood"] for result in answer["results"]} == {True, False}


def test_a_plain_model_has_no_components(screens_client: Client) -> None:
    result = ask(screens_client, "/ood_score", model="jem")["results"][0]
    assert result["components"] is result["category"] is None


def test_the_marginal_promise_with_its_numbers(screens_client: Client) -> None:
    found = ask(screens_client, "/ood_score", alpha=0.1, delta=0.2)["calibration"]
    assert (found["mode"], found["num_images"], found["k_star"]) == ("marginal", NUM, None)
    assert found["effective_alpha"] == 20 / 200
    assert found["rate_bound"] == pytest.approx(rate_bound(NUM, 20, 0.2))
    for part in (f"{NUM} images of noise", "on average", "0.8 confidence", "does not bound"):
        assert part in found["guarantee"]


def test_pac_flags_by_its_rank(screens_client: Client, screen: LoadedModel) -> None:
    answer = ask(screens_client, "/ood_score", alpha=0.2, guarantee="pac", delta=0.01)
    k_star = pac_rank(NUM, 0.2, 0.01)
    assert answer["calibration"]["k_star"] == k_star < 40
    assert answer["calibration"]["effective_alpha"] == k_star / 200
    assert answer["calibration"]["rate_bound"] <= 0.2
    scores = screen.bundle.calibrations["screen"].scores
    for result in answer["results"]:
        assert result["is_ood"] == (result["p_value"] <= k_star / 200)
        assert result["threshold"] == pytest.approx(float(scores[NUM - k_star]), rel=1e-6)
        assert result["alpha"] == 0.2


def test_classes_have_their_own_calibration(screens_client: Client, screen: LoadedModel) -> None:
    answer = ask(screens_client, "/ood_score", alpha=0.3, guarantee="class_conditional")
    rows = offline(screen)
    calibration = screen.bundle.calibrations["screen"]
    assert calibration.category is not None
    assert len(set(rows["category"].tolist())) > 1
    for result, score, index in zip(
        answer["results"], rows["score"], rows["category"], strict=True
    ):
        own = calibration.scores[calibration.category == index]
        assert result["p_value"] == (1 + int((own >= score).sum())) / (len(own) + 1)
        assert result["is_ood"] == (result["p_value"] <= 0.3)
        assert result["is_ood"] == (result["score"] > result["threshold"])
    assert answer["calibration"]["effective_alpha"] is None
    assert "within each predicted class" in answer["calibration"]["guarantee"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"alpha": 0.001}, "allow 0.005 <= alpha < 1"),
        ({"alpha": 0.01, "guarantee": "pac"}, "299 are needed"),
        ({"guarantee": "class_conditional", "model": "blind"}, "knows no classes"),
        ({"guarantee": "class_conditional", "model": "jem"}, "knows no classes"),
        ({"guarantee": "always"}, "marginal"),
        ({"delta": 0.0, "guarantee": "pac"}, "delta"),
        ({"delta": 1}, "delta"),
        ({"score": "energy"}, "accepted are screen"),
    ],
)
def test_what_cannot_be_promised_is_refused(
    screens_client: Client, fields: dict[str, Any], why: str
) -> None:
    for path in ("/ood_score", "/classify"):
        if path == "/ood_score" or ("score" not in fields and fields.get("model") is None):
            assert why in refused(screens_client, path, **fields)


def test_a_class_with_too_few_images_is_named(screens_client: Client, screen: LoadedModel) -> None:
    category = screen.bundle.calibrations["screen"].category
    assert category is not None
    sizes = category.bincount(minlength=3)
    seen = offline(screen)["category"]
    row = int(next(i for i, c in enumerate(seen.tolist()) if sizes[c] < NUM))
    size = int(sizes[seen[row]])
    alpha = 0.5 / (size + 1) + 0.5 / (NUM + 1)
    why = refused(screens_client, "/ood_score", alpha=alpha, guarantee="class_conditional")
    assert f"image {row} looks like class {CLASS_NAMES[int(seen[row])]}" in why
    assert f"there are {size} calibration images" in why


def test_several_images_are_judged_as_a_group(screens_client: Client, screen: LoadedModel) -> None:
    found = ask(screens_client, "/ood_score", alpha=0.1)["batch"]
    rows = offline(screen)
    calibration = screen.bundle.calibrations["screen"]
    expected = group_test(calibration, rows["score"], rows["z"])
    group = found["group"]
    assert group["num_groups"] == expected.num_groups == NUM // 12
    assert group["p_value"] == expected.p_value
    assert group["statistic"] == pytest.approx(expected.statistic, rel=1e-5)
    assert group["is_ood"] == (group["p_value"] <= 0.1)
    assert group["note"] is None
    assert "groups of 12 images" in group["guarantee"]
    strange = ask(screens_client, "/ood_score", torch.ones(12, 1, 8, 8), alpha=0.1)["batch"][
        "group"
    ]
    assert strange["is_ood"]
    assert strange["p_value"] == 1 / 17


def test_a_group_too_large_for_alpha_has_no_verdict(screens_client: Client) -> None:
    found = ask(screens_client, "/ood_score", alpha=0.05)["batch"]
    assert found["group"]["is_ood"] is None
    assert "199 calibration images make 16 groups of 12" in found["group"]["note"]
    assert "one alone is rejected only at 0.0042" in found["note"]
    assert ask(screens_client, "/ood_score", X[:2], alpha=0.05)["batch"]["note"] is None
