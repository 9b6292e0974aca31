"""The rules of the layout, as a test: who may import whom, and how large a file may be."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from models.core.contract.families import families

ROOT = Path(__file__).parents[1]


def sources(*folders: str) -> list[Path]:
    """All Python files below these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT, TESTS = sources("models", "training", "service"), sources("tests", "benchmarks")
MAX_LINES = 250


def title(path: Path) -> str:
    """The path as it is written in the documents."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file imports from us, wherever in the file it does so."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{title(path)} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if re.match(r"(models|training|service|tests)\b", name))


def allowed(path: Path) -> tuple[str, ...]:
    """What of ours a file may import."""
    part, *below = path.relative_to(ROOT).parts
    if part == "models":
        return ("models.core",)
    if below[0] != "recipes":
        return ("models.core", part)
    own = [f"models.{family}" for family in families() if path.stem.startswith(f"{family}_")]
    return ("models.core", part, *own)


def words(path: Path) -> Iterator[str]:
    """Parts of every identifier, and every whole string constant."""
    for node in ast.walk(tree(path)):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str):
                yield value if isinstance(node, ast.Constant) else value.lower()
                if not isinstance(node, ast.Constant):
                    yield from re.split(r"[._]", value.lower())


@pytest.mark.parametrize("path", PRODUCT, ids=title)
def test_imports_go_one_way(path: Path) -> None:
    wrong = [
        name
        for name in imported(path)
        if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed(path))
    ]
    assert not wrong


@pytest.mark.parametrize("path", [p for p in PRODUCT if "models" not in p.parts], ids=title)
def test_no_family_is_named_outside_recipes(path: Path) -> None:
    if path.parent.name != "recipes":
        assert not set(families()) & set(words(path))


@pytest.mark.parametrize("path", [*PRODUCT, *TESTS], ids=title)
def test_a_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.isascii()
    num_lines = len(text.splitlines())
    assert num_lines <= MAX_LINES
    summary = (ast.get_docstring(tree(path)) or "").split("\n\n")[0].replace("\n", " ")
    assert summary.endswith((".", "?"))
    assert not re.search(r"[.!?] [A-Z]", summary), "one sentence, then a blank line"


@pytest.mark.parametrize("path", PRODUCT, ids=title)
def test_nothing_is_printed(path: Path) -> None:
    calls = [node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    assert not [name for name in calls if isinstance(name, ast.Name) and name.id == "print"]


def test_the_rules_see_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "service" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("def f():\n    from training import data\n    return 'jem', jem_loss\n")
    assert list(imported(bad)) == ["training.data"]
    assert allowed(bad) == ("models.core", "service")
    assert {"jem", "jem_loss"} <= set(words(bad))
    with pytest.raises(AssertionError):
        test_imports_go_one_way(bad)
    with pytest.raises(AssertionError):
        test_no_family_is_named_outside_recipes(bad)
