"""Source files as the rules of the layout see them, and rules that need no table."""

import ast
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from models.core.contract.families import families

MAX_LINES = 250


class Source:
    """A Python file below the root of a repository."""

    def __init__(self, root: Path, path: Path) -> None:
        self.path = path
        self.title = path.relative_to(root).as_posix()
        self.module = self.title.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def text(self) -> str:
        """What is written in it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The same, parsed."""
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> list[str]:
        """Full names of what it imports from us, wherever in the file it does so."""
        return list(imported(self.tree))

    def words(self) -> Iterator[str]:
        """Parts of every identifier, and every whole string constant."""
        for node in ast.walk(self.tree):
            for _, value in ast.iter_fields(node):
                if isinstance(value, str):
                    yield value if isinstance(node, ast.Constant) else value.lower()
                    if not isinstance(node, ast.Constant):
                        yield from re.split(r"[._]", value.lower())


Rule = Callable[[Source], Iterable[str]]
"""What is wrong with a file, in words that follow its name; nothing if it keeps the rule."""


def sources(root: Path, *folders: str) -> list[Source]:
    """All Python files below these folders."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    return [Source(root, path) for path in paths]


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported from us; what is imported relatively begins with its dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            where = "." * node.level + (node.module or "")
            names = [f"{where}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n for n in names if re.match(r"\.|(models|training|service|tests)\b", n))


def offenders(rule: Rule, files: Iterable[Source]) -> list[str]:
    """Every file that breaks a rule, with what it does."""
    return [f"{file.title} {wrong}" for file in files for wrong in rule(file)]


def room_in(rooms: Container[str], name: str) -> str | None:
    """The room of a module or of a name in it. Files directly in models/ are the room "models".

    None for what stands in none, as the packages that hold rooms: they have no code to import.
    """
    parts = name.split(".")
    for num in (3, 2):
        if ".".join(parts[:num]) in rooms:
            return ".".join(parts[:num])
    return "models" if parts[0] == "models" and len(parts) > 1 and parts[1] != "core" else None


def arrows(rooms: Container[str], files: Iterable[Source]) -> dict[str, set[str]]:
    """Which rooms a room imports, as its files do it."""
    graph: dict[str, set[str]] = {}
    for file in files:
        here = room_in(rooms, file.module) or file.module
        targets = {room_in(rooms, name) or name for name in file.imports}
        graph.setdefault(here, set()).update(targets - {here})
    return graph


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Nodes that lead to each other in a circle, the first again at the end; empty without one."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def imports_for_types_only(file: Source) -> Iterator[str]:
    """Imports of ours that are hidden from Python: they are arrows all the same."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (f"imports {name} under TYPE_CHECKING" for name in imported(node))


def imports_relatively(file: Source) -> Iterator[str]:
    """Imports that do not say where they come from."""
    yield from (f"imports {name}" for name in file.imports if name.startswith("."))


def names_a_family(file: Source) -> Iterator[str]:
    """Families by name, outside of models and recipes."""
    if file.module.split(".")[0] != "models" and file.path.parent.name != "recipes":
        yield from (f"names {family}" for family in sorted({*families()} & {*file.words()}))


def is_long_or_says_nothing(file: Source) -> Iterator[str]:
    """What is wrong with a file's letters, length and first sentence."""
    if not file.text.isascii():
        yield "is not ASCII"
    if (num_lines := len(file.text.splitlines())) > MAX_LINES:
        yield f"has {num_lines} lines"
    summary = (ast.get_docstring(file.tree) or "").split("\n\n")[0].replace("\n", " ")
    if not summary.endswith((".", "?")) or re.search(r"[.!?] [A-Z]", summary):
        yield "does not begin with one sentence and a blank line"


def prints(file: Source) -> Iterator[str]:
    """Calls of print."""
    calls = [node.func for node in ast.walk(file.tree) if isinstance(node, ast.Call)]
    yield from ("prints" for name in calls if isinstance(name, ast.Name) and name.id == "print")
