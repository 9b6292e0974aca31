"""The container: every setting reaches it, and its checks ask what they should."""

import re
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")


def test_compose_passes_every_setting_through_and_no_other() -> None:
    passed = re.findall(r"^      (LIKELY_\w+):(?: \$\{\1:-[\w.]+\})?$", COMPOSE, re.MULTILINE)
    assert passed == [f"LIKELY_{name.upper()}" for name in Settings.model_fields]


def test_compose_mounts_bundles_where_the_service_looks_for_them() -> None:
    (folder,) = re.findall(r"^      - \$\{BUNDLES:-\./bundles\}:/app/(\w+):ro$", COMPOSE, re.M)
    assert (folder,) == Settings.model_fields["bundles"].default
    assert "\nWORKDIR /app\n" in DOCKERFILE


def test_the_image_is_checked_for_life_and_compose_waits_until_it_is_ready() -> None:
    assert re.findall(r"/health/(\w+)", DOCKERFILE) == ["live"]
    assert re.findall(r"/health/(\w+)", COMPOSE) == ["ready"]
    (start_period_s,) = re.findall(r"start_period: (\d+)s", COMPOSE)
    assert int(start_period_s) >= 300
