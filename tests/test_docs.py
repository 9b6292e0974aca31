"""The pages are complete: every setting, endpoint, operation, score and error is in its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from models.core.contract.families import families, family
from models.core.ood.register import SCORES
from service.app import create_app
from service.errors import ServiceError
from service.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
FRAMEWORK = {"/openapi.json", "/redoc", "/docs/oauth2-redirect"}
OF_TRAINING = {"LIKELY_DATA"}


def settings() -> set[str]:
    """The environment variables that the service reads."""
    return {f"LIKELY_{name.upper()}" for name in Settings.model_fields}


def endpoints() -> set[str]:
    """Paths of all routes, as the routes write them."""
    routes = iter_route_contexts(create_app(Settings()).routes)
    return {route.path for route in routes if route.path} - FRAMEWORK


def operations() -> set[str]:
    """Names of the operations of all families."""
    modules = [family(name) for name in families()]
    return {name for m in modules for name in m.Model(m.Config()).operations()}


def errors(parent: type[ServiceError] = ServiceError) -> Iterator[str]:
    """The last part of the `type` of every problem document."""
    yield parent.slug
    for error in parent.__subclasses__():
        yield from errors(error)


def on_page(page: str, name: str) -> bool:
    """Whether it stands there by itself, not as the beginning or the end of another word."""
    before = "" if name.startswith("/") else r"(?<![\w-])"
    return re.search(before + re.escape(name) + r"(?![\w{-]|/\w|/\{)", PAGES[page]) is not None


@pytest.mark.parametrize("name", sorted(settings()))
def test_every_setting_is_explained(name: str) -> None:
    assert on_page("docs/settings.md", name)


@pytest.mark.parametrize("name", sorted(OF_TRAINING))
def test_every_setting_of_training_is_explained(name: str) -> None:
    assert on_page("docs/training.md", name)


def test_no_setting_is_invented() -> None:
    found = {name for text in PAGES.values() for name in re.findall(r"\bLIKELY_[A-Z_]+", text)}
    assert found <= settings() | OF_TRAINING


@pytest.mark.parametrize("path", sorted(endpoints()))
def test_every_endpoint_is_explained(path: str) -> None:
    assert on_page("docs/api.md", path)


@pytest.mark.parametrize("name", sorted(operations()))
def test_every_operation_is_explained(name: str) -> None:
    assert on_page("docs/api.md", f"`{name}`")


@pytest.mark.parametrize("name", sorted(SCORES))
def test_every_score_is_explained(name: str) -> None:
    assert f"\n| `{name}` | {SCORES[name].unit} |" in PAGES["docs/screening.md"]


@pytest.mark.parametrize("slug", sorted(set(errors())))
def test_every_error_is_explained(slug: str) -> None:
    assert on_page("docs/errors.md", slug)
