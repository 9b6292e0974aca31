"""Settings from the environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.environment import WrongSetting, ignored_names, read_settings, usage
from service.settings import Settings
from tests.support.service.process import ROOT, served, wait_ready

OF_KUBERNETES = {
    "LIKELY_SERVICE_HOST": "10.96.14.3",
    "LIKELY_SERVICE_PORT": "8000",
    "LIKELY_SERVICE_PORT_HTTP": "8000",
    "LIKELY_PORT_8000_TCP": "tcp://10.96.14.3:8000",
    "LIKELY_PORT_8000_TCP_ADDR": "10.96.14.3",
    "LIKELY_PORT_8000_TCP_PORT": "8000",
    "LIKELY_PORT_8000_TCP_PROTO": "tcp",
    "LIKELY_WEB_PORT": "tcp://10.96.14.4:80",
    "LIKELY_WEB_SERVICE_HOST": "10.96.14.4",
}
"""Beside Services named likely and likely-web; LIKELY_PORT itself is apart."""


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKELY_PORT", "9000")
    monkeypatch.setenv("LIKELY_BUNDLES", "bundles, s3://bucket/models,")
    monkeypatch.setenv("LIKELY_UNRELATED", "1")
    settings = Settings()
    assert settings.port == 9000
    assert settings.bundles == ("bundles", "s3://bucket/models")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "http://likely:8000"),
        ("PORT", ""),
        ("BUNDLES", ","),
        ("TIMEOUT_S", "0"),
        ("TIMEOUT_S", "nan"),
        ("DRAIN_S", "1e12"),
        ("MAX_STEP_MS", "inf"),
        ("BACKEND", "magic"),
        ("LOG_LEVEL", "loud\nand clear" * 50),
    ],
)
def test_wrong_settings_are_refused_in_a_line_that_names_them(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LIKELY_{name}", value)
    with pytest.raises(ValidationError):
        Settings()
    with pytest.raises(WrongSetting, match=rf"^LIKELY_{name}=[^\n]{{0,400}}$"):
        read_settings()


@pytest.mark.parametrize("scheme", ["tcp", "UDP"])
def test_addresses_of_kubernetes_services_are_no_settings(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    address = {"LIKELY_PORT": f"{scheme}://10.96.14.3:8000"}
    for name, value in {**OF_KUBERNETES, **address}.items():
        monkeypatch.setenv(name, value)
    assert read_settings().port == 8000
    assert ignored_names(OF_KUBERNETES) == []
    (warning,) = ignored_names({**OF_KUBERNETES, **address})
    assert warning.startswith("LIKELY_PORT=")


def test_names_that_set_nothing_are_warned_of() -> None:
    wanted = {"LIKELY_DATA": "/data", "LIKELY_MAX_ROWS": "8", "likely_port": "1", "PATH": "x"}
    assert ignored_names(wanted) == []
    device, typo = ignored_names({"LIKELY_DEVICE": "cuda", "LIKELY_TIMOUT_S": "5"})
    assert device.startswith("LIKELY_DEVICE is ignored")
    assert "LIKELY_TIMEOUT_S is" in typo


def test_every_setting_is_explained() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert all(f"LIKELY_{name.upper()}" in usage() for name in Settings.model_fields)


def service(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`python -m service` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_process_says_what_it_cannot_use_in_a_line_and_helps() -> None:
    wrong = service(LIKELY_PORT="x")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("LIKELY_PORT='x' cannot be used: ")
    assert wrong.stderr.count("\n") == 1
    helped = service("--help", LIKELY_PORT="x")
    assert helped.returncode == 0
    assert "LIKELY_MAX_BODY_BYTES" in helped.stdout


def test_a_process_beside_kubernetes_services_starts(bundles: Path, tmp_path: Path) -> None:
    names = {**OF_KUBERNETES, "LIKELY_DEVICE": "cuda"}
    with served(bundles, tmp_path, **names) as process:
        wait_ready(process)
        assert "LIKELY_DEVICE is ignored" in process.log.read_text()
