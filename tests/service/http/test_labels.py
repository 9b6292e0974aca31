"""A label is a name first: 1 and "1" are the same class, in JSON and in the query."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from models.core.bundle.bundle import save
from service.settings import Settings
from tests.support.service.apps import Client, client_of
from tests.support.service.bundles import make_bundle
from tests.support.service.models import tiny_model

NUMBERS = ("1", "10", "2")


@pytest.fixture(scope="module")
def numbered(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A model whose classes are called by numbers, and one whose classes are not."""
    folder = tmp_path_factory.mktemp("numbered")
    plain = make_bundle("plain", "jem", tiny_model("jem"))
    save(replace(plain, name="numbers", class_names=NUMBERS), folder / "numbers")
    save(plain, folder / "plain")
    update = {"bundles": (str(folder),), "default_model": "numbers"}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_the_class_of_that_name(numbered: Client, name: str) -> None:
    bodies = ({"label": name}, {"label": int(name)})
    answers = [numbered.post("/sample", json={**body, "num_samples": 1}) for body in bodies]
    answers.append(numbered.post(f"/sample?label={name}", json={"num_samples": 1}))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json()["label"] for answer in answers] == [name] * 3


def test_a_number_that_is_no_name_is_not_an_index_among_numbers(numbered: Client) -> None:
    for label in (0, "0", 3):
        answer = numbered.post("/sample", json={"label": label, "num_samples": 1})
        assert answer.status_code == 422
        assert "accepted are one of 1, 10, 2" in answer.json()["detail"]


def test_elsewhere_an_index_is_understood(numbered: Client) -> None:
    for label in (1, "1"):
        body = {"model": "plain", "label": label, "num_samples": 1}
        assert numbered.post("/sample", json=body).json()["label"] not in ("1", None)
    body = {"model": "plain", "label": 9, "num_samples": 1}
    assert "0 to 2, or one of" in numbered.post("/sample", json=body).json()["detail"]
