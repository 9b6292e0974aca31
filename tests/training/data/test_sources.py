"""Files of named sets are found, checked or downloaded; nothing here leaves this machine."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from training.data.readers import DataError
from training.data.sources import SOURCES, File, fetch

CONTENT = b"the only bytes we accept"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:1/x.bin"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LIKELY_DATA, empty, with an empty cache beside it."""
    (tmp_path / "data/set").mkdir(parents=True)
    monkeypatch.setenv("LIKELY_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "data"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[str]:
    """The address of a server on this machine that gives out `tmp_path/home`."""
    (tmp_path / "home").mkdir()
    handler = partial(_Quiet, directory=str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_of_the_data_folder_is_taken_as_it_is(data: Path) -> None:
    (data / "set/x.bin").write_bytes(CONTENT)
    assert fetch(File("set/x.bin", SHA256, NOWHERE)) == data / "set/x.bin"


def test_other_bytes_are_named_with_both_sums(data: Path) -> None:
    (data / "set/x.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=rf"x\.bin is truncated .* expected {SHA256}"):
        fetch(File("set/x.bin", SHA256, NOWHERE))


def test_a_missing_file_without_a_home_is_named_with_its_sum() -> None:
    with pytest.raises(DataError, match=rf"set/x\.bin is missing.*LIKELY_DATA.*{SHA256}"):
        fetch(File("set/x.bin", SHA256))


def test_a_home_that_does_not_answer_is_named() -> None:
    with pytest.raises(DataError, match=r"set/x\.bin .*could not be downloaded from http://127"):
        fetch(File("set/x.bin", SHA256, NOWHERE))


def test_a_download_is_kept_in_the_cache(tmp_path: Path, home: str) -> None:
    (tmp_path / "home/x.bin").write_bytes(CONTENT)
    path = fetch(File("set/x.bin", SHA256, f"{home}/x.bin"))
    assert path == tmp_path / "cache/likely/set/x.bin"
    assert fetch(File("set/x.bin", SHA256, NOWHERE)) == path


def test_a_download_of_other_bytes_is_not_kept(tmp_path: Path, home: str) -> None:
    (tmp_path / "home/x.bin").write_bytes(b"a login page")
    with pytest.raises(DataError, match=r"set/x\.bin"):
        fetch(File("set/x.bin", SHA256, f"{home}/x.bin"))
    assert not (tmp_path / "cache/likely/set/x.bin").exists()


@pytest.mark.parametrize("name", SOURCES)
def test_every_named_set_states_its_files_and_its_source(name: str) -> None:
    source = SOURCES[name]
    assert len(source.about) > 40
    for file in source.files:
        assert file.path.startswith(f"{name}/")
        assert len(file.sha256) == 64
        assert file.url is None or file.url.startswith("https://")
