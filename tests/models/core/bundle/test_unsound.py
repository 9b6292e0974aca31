"""A bundle that is not whole is refused, with the name of the file that is wrong."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save as save_tensors

from models.core.bundle.bundle import BundleError, load
from tests.support.models.bundles import edited, replaced, small_bundle


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "calibration.safetensors", "graphs/logits.onnx"]
)
def test_a_damaged_truncated_or_missing_file_is_named(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damaged in (bytes(flipped), whole[:-1], b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(BundleError, match=f"{name} is damaged"):
            load(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        load(folder)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"{}", b"null", b'"x"', b"\x80\x81", b"\xff\xfe\x00", b'{"format": 1}'],
)
def test_a_broken_description_is_named(folder: Path, raw: bytes) -> None:
    (folder / "bundle.json").write_bytes(raw)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load(folder)


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "format": (lambda t: t.update(format=2), "format 2, accepted is 1"),
    "no weights": (lambda t: t["files_sha256"].pop("weights.safetensors"), "weights.safetensors"),
    "no scores": (lambda t: t["files_sha256"].pop("calibration.safetensors"), "energy"),
    "files": (lambda t: t.update(files_sha256=["weights.safetensors"]), r"bundle\.json"),
    "uncalibrated": (lambda t: t["calibration"].pop("reference"), "reference"),
    "preprocessing": (lambda t: t["preprocessing"].update(blur=3), "blur"),
    "levels": (lambda t: t["preprocessing"].update(levels=1), "preprocessing: 1 grey levels"),
    "config": (lambda t: t.update(config=None), r"bundle\.json"),
    "kind": (lambda t: t.update(kind="screen"), "kind 'screen' of family 'jem'"),
    "hidden kind": (lambda t: t.update(family="screen"), "kind 'model' of family 'screen'"),
    "nameless": (lambda t: t.pop("name"), "name"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_wrong_description_is_refused_with_the_reason(folder: Path, kind: str) -> None:
    edit, reason = EDITS[kind]
    with pytest.raises(BundleError, match=reason):
        load(edited(folder, edit))


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "graphs/../../secret",
        "/etc/hostname",
        "a/b/c",
        "..",
        "a\\..\\b",
        "",
        "a\n",
        "~",
    ],
)
def test_no_path_leads_out_of_the_folder(folder: Path, name: str) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    with pytest.raises(BundleError, match="is not accepted"):
        load(edited(folder, lambda text: text["files_sha256"].update({name: digest})))


class Trap:
    """Says so when somebody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was read",)


@pytest.mark.parametrize("name", ["weights.safetensors", "calibration.safetensors"])
def test_a_pickle_is_never_read(folder: Path, name: str) -> None:
    with pytest.raises(BundleError, match="not safetensors"):
        load(replaced(folder, name, pickle.dumps(Trap())))


def test_a_pickle_beside_the_weights_is_ignored(folder: Path) -> None:
    load(replaced(folder, "weights.pt", pickle.dumps(Trap()))).build()


CONFIGS: list[dict[str, Any]] = [
    {"hidden": 17},
    {"event_shape": [1, 9, 9]},
    {"channels": [8]},
    {"channels": ["a", "b"]},
    {"strides": [0, 0]},
    {"event_shape": [8, 8]},
    {"hidden": -1},
    {"num_classes": 4},
    {"colour": "red"},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_config_that_does_not_fit_the_weights_is_refused(
    folder: Path, config: dict[str, Any]
) -> None:
    bundle = load(edited(folder, lambda text: text["config"].update(config)))
    with pytest.raises(BundleError, match=r"tiny: .* does not fit the config"):
        bundle.build()


def test_weights_must_be_complete_and_no_more(folder: Path) -> None:
    weights = dict(small_bundle().weights)
    weights["extra"] = weights.pop("log_z")
    bundle = load(replaced(folder, "weights.safetensors", save_tensors(weights)))
    with pytest.raises(BundleError, match="does not fit the config"):
        bundle.build()


@pytest.mark.parametrize("family", ["core", "no_such", "../jem", "__init__", "", "os"])
def test_an_unknown_family_is_refused(folder: Path, family: str) -> None:
    bundle = load(edited(folder, lambda text: text.update(family=family)))
    with pytest.raises(ValueError, match=r"unknown family.*accepted are"):
        bundle.build()
