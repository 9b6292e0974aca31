"""The pages are complete: every setting, endpoint, operation, score and error is in its own."""

import re
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import iter_route_contexts

from models.core.contract.families import families, family
from models.core.ood.register import SCORES
from service.app import create_app
from service.errors import ServiceError
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES = 16 + 1  # and the sentence of the room
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]
FRAMEWORK = {"/openapi.json", "/redoc", "/docs/oauth2-redirect"}
FOR_BROWSERS = {"/", "/docs"}
OF_TRAINING = {"LIKELY_DATA"}


def errors(parent: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Every way in which a request can fail."""
    yield parent
    for error in parent.__subclasses__():
        yield from errors(error)


def endpoints() -> set[str]:
    """Paths of all routes, as the routes write them."""
    routes = iter_route_contexts(create_app(Settings()).routes)
    return {route.path for route in routes if route.path} - FRAMEWORK


def operations() -> set[str]:
    """Names of the operations of all families."""
    modules = [family(name) for name in families()]
    return {name for m in modules for name in m.Model(m.Config()).operations()}


def on_page(page: str, name: str) -> bool:
    """Whether it stands there by itself, not as the beginning or the end of another word."""
    before = "" if name.startswith("/") else r"(?<![\w-])"
    return re.search(before + re.escape(name) + r"(?![\w{-]|/\w|/\{)", PAGES[page]) is not None


def test_every_setting_is_explained_with_its_default() -> None:
    rows = {}
    for name, field in Settings.model_fields.items():
        shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        rows[name] = f"\n| `LIKELY_{name.upper()}` | `{shown}` |"
    assert not [name for name, row in rows.items() if row not in PAGES["docs/settings.md"]]


def test_every_setting_of_training_is_explained() -> None:
    assert not [name for name in sorted(OF_TRAINING) if not on_page("docs/training.md", name)]


def test_no_setting_is_invented() -> None:
    found = {name for text in PAGES.values() for name in re.findall(r"\bLIKELY_[A-Z_]+", text)}
    assert found <= {f"LIKELY_{name.upper()}" for name in Settings.model_fields} | OF_TRAINING


def test_every_endpoint_is_explained() -> None:
    assert not [path for path in sorted(endpoints()) if not on_page("docs/api.md", path)]


def test_the_readme_has_a_command_for_every_endpoint() -> None:
    for path in sorted(endpoints() - FOR_BROWSERS):
        concrete = re.sub(r"\\\{\w+\\\}", r"[\\w-]+", re.escape(path))
        command = rf"\ncurl [^\n]*http://127\.0\.0\.1:8000{concrete}(?=[\s'?])"
        assert re.search(command, README), path


def test_every_operation_is_explained() -> None:
    assert not [n for n in sorted(operations()) if not on_page("docs/api.md", f"`{n}`")]


def test_every_score_is_explained() -> None:
    rows = {name: f"\n| `{name}` | {score.unit} |" for name, score in SCORES.items()}
    assert not [name for name, row in rows.items() if row not in PAGES["docs/screening.md"]]


def test_every_error_is_explained() -> None:
    rows = [f"\n| `/problems/{e.slug}` | {e.status} | {e.title}: " for e in errors()]
    assert not [row for row in rows if row not in PAGES["docs/errors.md"]]


def test_the_readme_lists_every_family_with_what_it_answers() -> None:
    for name in families():
        rows = re.findall(rf"^\| `{name}` \| [^|]+ \| [^|]+ \|([^|]*)\|", README, re.MULTILINE)
        model = family(name).Model(family(name).Config())
        also = {"classify", "encode", "decode", "reconstruct", "compress"} & set(model.operations())
        assert [set(re.findall(r"`(\w+)`", answers)) for answers in rows] == [also], name


def test_the_readme_is_short_and_begins_with_how_to_serve_and_to_test() -> None:
    assert README.count("\n") <= 250
    first, *_ = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make serve",
        "make test",
    ]


def anchors(text: str) -> set[str]:
    """What a link can point to in a page, as GitHub names its headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(text), re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        names = (slug, *(f"{slug}-{i}" for i in range(1, len(found) + 1)))
        found.add(next(name for name in names if name not in found))
    return found


def prose(text: str) -> str:
    """A page without its blocks of code, whose comments look like headings."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def links() -> Iterator[tuple[str, str]]:
    """Every link of the documents to a file or a heading of ours, with the page it stands in."""
    for page in (*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = re.sub(r"`[^`\n]*`", "", prose((ROOT / page).read_text(encoding="utf-8")))
        for link in re.findall(r"\]\(\s*<?([^)>\s]+)", text):
            if not re.match(r"[a-z]+:", link):
                yield page, link


def test_every_link_leads_somewhere() -> None:
    assert not [link for link in sorted(set(links())) if not leads_somewhere(*link)]


def leads_somewhere(page: str, link: str) -> bool:
    """Whether the file of a link is ours and there, and has the heading."""
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


def commands() -> Iterator[str]:
    """The blocks and the words of the documents that are set as code."""
    for page in (*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        yield from re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        yield from re.findall(r"`([^`\n]+)`", prose(text))


def test_every_target_of_make_exists() -> None:
    made = r"\bmake (?:[A-Z]+=\S+ )*([a-z]+)"
    named = {target for command in commands() for target in re.findall(made, command)}
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert {"serve", "test"} <= named <= set(targets)


def test_a_room_of_many_files_has_its_reason() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = [p.parent for part in ("models/core", "service", "training") for p in rooms_of(part)]
    large = {folder for folder in folders if len(list(folder.glob("*.py"))) > MOST_FILES}
    assert large == {ROOT / "training" / "recipes"}, "give the reason in ARCHITECTURE.md"
    assert "`recipes` is the room with more than 16 files" in text


def rooms_of(part: str) -> Iterator[Path]:
    """The `__init__.py` of every room of a part."""
    return (ROOT / part).rglob("__init__.py")
