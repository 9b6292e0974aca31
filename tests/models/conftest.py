"""Fixtures of the tests of the models."""

from pathlib import Path

import pytest

from models.core.bundle.bundle import save
from tests.support.models.bundles import small_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved bundle."""
    return save(small_bundle(), tmp_path / "tiny", {"report/a.png": b"picture", "README.md": b"#"})
