"""What a bundle says of itself is refused where it could not be repeated safely."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.core.bundle.bundle import BundleError, load, save
from tests.support.service.bundles import make_bundle
from tests.support.service.models import tiny_model

BUNDLE = make_bundle("jem", "jem", tiny_model("jem"))
UNSOUND: list[tuple[str, Any]] = [
    ("name", "../../etc/passwd\r\nX: 1"),
    ("name", "a/b"),
    ("name", ".."),
    ("name", "jem\n"),
    ("name", "jem@1"),
    ("name", ""),
    ("name", 7),
    ("name", ["jem"]),
    ("class_names", ["cat", "dog", "cat"]),
    ("class_names", ["cat", "dog", ""]),
    ("class_names", ["cat", "dog", "cat\r\nX: 1"]),
    ("class_names", ["cat", "dog", "c" * 129]),
    ("class_names", ["cat", "dog", 3]),
    ("class_names", "cat"),
    ("feature_names", ["a", "a"]),
    ("metrics", {"accuracy": "0.9"}),
    ("metrics", {"accuracy": True}),
    ("metrics", {"accuracy": float("inf")}),
    ("metrics", {"accuracy": [0.9]}),
    ("metrics", [0.9]),
    ("provenance", {"data": {"set": 1}}),
]


@pytest.mark.parametrize(("field", "value"), UNSOUND)
def test_unsound_words_are_not_loaded(tmp_path: Path, field: str, value: Any) -> None:
    path = save(BUNDLE, tmp_path / "bundle") / "bundle.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, field: value}))
    with pytest.raises(BundleError, match=r"bundle\.json: ") as raised:
        load(tmp_path / "bundle")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a/b", "", "jem\n"])
def test_unsound_names_are_not_saved(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="bundle name"):
        save(replace(BUNDLE, name=name), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
