"""Settings from the environment."""

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKELY_PORT", "9000")
    monkeypatch.setenv("LIKELY_BUNDLES", "bundles, s3://bucket/models,")
    monkeypatch.setenv("LIKELY_UNRELATED", "1")
    settings = Settings()
    assert settings.port == 9000
    assert settings.bundles == ("bundles", "s3://bucket/models")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("BUNDLES", ","), ("TIMEOUT_S", "0"), ("BACKEND", "magic")],
)
def test_wrong_settings_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LIKELY_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_every_setting_is_explained() -> None:
    assert all(field.description for field in Settings.model_fields.values())
