"""The rules of the layout, as a test: who may import whom, and how large a file may be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.core.contract.families import families
from tests.support.architecture import (
    MAX_LINES,
    Rule,
    Source,
    imports_for_types_only,
    imports_relatively,
    is_long_or_says_nothing,
    names_a_family,
    offenders,
    prints,
    sources,
)

ROOT = Path(__file__).parents[1]
PRODUCT = sources(ROOT, "models", "training", "service")
TESTS = sources(ROOT, "tests", "benchmarks")


def allowed(file: Source) -> tuple[str, ...]:
    """What of ours a file may import."""
    part, *below = file.module.split(".")
    if part == "models":
        return ("models.core",)
    if below[:1] != ["recipes"]:
        return ("models.core", part)
    own = [f"models.{family}" for family in families() if file.path.stem.startswith(f"{family}_")]
    return ("models.core", part, *own)


def imports_upwards(file: Source) -> Iterator[str]:
    """Imports of what a file may not know; a recipe may know the family it is named for."""
    for name in file.imports:
        if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed(file)):
            yield f"imports {name}"


PRODUCT_RULES: tuple[Rule, ...] = (
    imports_upwards,
    imports_for_types_only,
    imports_relatively,
    names_a_family,
    prints,
)
PLANTED: dict[Rule, tuple[tuple[str, str], ...]] = {
    imports_upwards: (
        ("service/engine/bad.py", "def f():\n    from training import data\n"),
        ("models/core/flow/bad.py", "import service.app\n"),
        ("models/bad.py", "from models.jem import Model\n"),
        ("training/fit/bad.py", "from models.jem import Model\n"),
        ("training/recipes/vae_bad.py", "from models.jem import Model\n"),
    ),
    imports_for_types_only: (
        (
            "models/core/flow/bad.py",
            "import typing\nif typing.TYPE_CHECKING:\n    from models.core.flow import density\n",
        ),
        (
            "service/bad.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import service.app\n",
        ),
    ),
    imports_relatively: (("training/data/bad.py", "from .splits import Split\n"),),
    names_a_family: (
        ("service/media/bad.py", "X = 'jem'\n"),
        ("training/fit/bad.py", "def jem_loss(): ...\n"),
    ),
    prints: (("service/media/bad.py", "def f():\n    print(1)\n"),),
    is_long_or_says_nothing: (
        ("tests/bad.py", ""),
        ("tests/bad.py", '"""Two. Sentences."""\n'),
        ("tests/bad.py", '"""Long."""\n' + "\n" * MAX_LINES),
        ("tests/bad.py", '"""Caf\u00e9."""\n'),
    ),
}
"""For each rule, files that break it once: path and text."""


@pytest.mark.parametrize("rule", PRODUCT_RULES)
def test_no_file_of_the_product(rule: Rule) -> None:
    wrong = offenders(rule, PRODUCT)
    assert not wrong, "\n".join(wrong)


def test_a_file_is_short_and_says_what_it_is_for() -> None:
    wrong = offenders(is_long_or_says_nothing, [*PRODUCT, *TESTS])
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_rule_sees_what_it_forbids(rule: Rule, tmp_path: Path) -> None:
    for place, text in PLANTED[rule]:
        bad = tmp_path / place
        bad.parent.mkdir(parents=True, exist_ok=True)
        bad.write_text(text, encoding="utf-8")
        wrong = offenders(rule, [Source(tmp_path, bad)])
        assert len(wrong) == 1, (place, text, wrong)
        assert wrong[0].startswith(f"{place} ")


def test_every_rule_has_its_offenders() -> None:
    assert set(PLANTED) == {*PRODUCT_RULES, is_long_or_says_nothing}
    assert len(PRODUCT) > 250
