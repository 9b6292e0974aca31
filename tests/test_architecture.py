"""The rules of the layout, as a test: who may import whom, and how large a file may be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.core.contract.families import families
from tests.support.architecture import (
    MAX_LINES,
    Rule,
    Source,
    arrows,
    circle,
    imports_for_types_only,
    imports_relatively,
    is_long_or_says_nothing,
    names_a_family,
    offenders,
    prints,
    room_in,
    sources,
)

ROOT = Path(__file__).parents[1]
PRODUCT = sources(ROOT, "models", "training", "service")
TESTS = sources(ROOT, "tests", "benchmarks")


_CORE = {
    "contract": "",
    "picture": "",
    "distributions": "contract",
    "nn": "contract",
    "calibration": "contract",
    "derived": "contract",
    "integer": "contract",
    "diffusion": "contract",
    "transforms": "contract distributions nn",
    "energy": "contract nn",
    "pixelcnn": "contract distributions",
    "flow": "contract derived distributions transforms",
    "latent": "contract derived distributions nn pixelcnn transforms",
    "coding": "contract distributions nn pixelcnn integer",
    "ood": "contract calibration",
    "screen": "contract ood",
    "bundle": "contract calibration picture",
}
_NOT_FOR_FAMILIES = {"calibration", "ood", "screen", "bundle", "picture"}
_SERVICE = {
    **dict.fromkeys(("errors", "listening", "logs", "settings"), ""),
    "environment": "settings",
    "schema": "core.contract core.calibration",
    "engine": "core.contract errors",
    "media": "core.contract core.coding core.bundle core.picture errors",
    "catalog": "core.contract core.bundle core.calibration core.ood engine errors",
    "metrics": "engine",
    "results": "core.contract core.calibration core.ood core.screen catalog metrics schema errors",
    "client_shares": "errors",
    "service": "results catalog client_shares engine media metrics settings errors",
    "http": "core.contract service results catalog engine media schema settings errors",
    "routes": "core.contract core.coding core.ood"
    " http service results catalog engine media metrics schema settings errors",
    "openapi": "http schema settings",
    "app": "routes openapi http service settings errors",
    "__main__": "app service environment listening settings logs",
}
_TRAINING = {
    "data": "",
    "export": "",
    "fit": "data",
    "measure": "fit data export",
    "report": "measure data",
    "ood": "measure data",
    "pipeline": "report measure fit data export",
    "cli": "pipeline ood fit data",
    "recipes": "fit pipeline",
    "__main__": "cli",
}


def _full(part: str, room: str) -> str:
    return f"models.{room}" if room.startswith("core.") else f"{part}.{room}"


ROOMS: dict[str, frozenset[str]] = {
    **{
        f"models.core.{room}": frozenset(f"models.core.{other}" for other in others.split())
        for room, others in _CORE.items()
    },
    "models": frozenset(f"models.core.{room}" for room in _CORE.keys() - _NOT_FOR_FAMILIES),
    **{
        f"service.{room}": frozenset(_full("service", other) for other in others.split())
        for room, others in _SERVICE.items()
    },
    **{
        f"training.{room}": frozenset(
            [
                *(f"training.{other}" for other in others.split()),
                *(f"models.core.{core}" for core in _CORE),
            ]
        )
        for room, others in _TRAINING.items()
    },
}
"""A room, and those that it may import beside itself. The families are one, called models."""
ALONE = {"models", "service.routes"}
"""Rooms whose files do not import each other; recipes may build on recipes."""
SHARED = {"service.routes.thin"}
"""Files of these that the others may import."""
KINDS = {
    f"models.core.{kind}"
    for kind in ("flow", "latent", "energy", "diffusion", "integer", "pixelcnn", "transforms", "nn")
}
"""Rooms about one kind of model."""
_ABOUT_A_KIND = """fit.contrastive fit.recovery fit.annealed fit.reverse_kl fit.starts
measure.log_z measure.latents"""
NAMES_A_KIND = {f"training.{name}" for name in _ABOUT_A_KIND.split()}
"""Files of training that are about a kind of model."""


def room_of(name: str) -> str | None:
    """The room of a module or of a name in it; None for what stands in none."""
    return room_in(ROOMS, name)


def stands_in_no_room(file: Source) -> Iterator[str]:
    """Files that the table does not place; what holds rooms has a sentence and no code."""
    if room_of(file.module) is None and (file.path.name != "__init__.py" or file.imports):
        yield "stands in no room"


def imports_upwards(file: Source) -> Iterator[str]:
    """Imports of rooms that a room may not know; a recipe may know the family it is named for."""
    room = room_of(file.module)
    own = {f"models.{name}" for name in families() if file.path.stem.startswith(f"{name}_")}
    for name in file.imports:
        of_recipe = room == "training.recipes" and ".".join(name.split(".")[:2]) in own
        if room_of(name) not in {room, *ROOMS.get(room or "", ())} and not of_recipe:
            yield f"imports {name}"


def imports_a_neighbour(file: Source) -> Iterator[str]:
    """Imports between files of a room in which each stands for itself."""
    room = room_of(file.module)
    for name in file.imports if room in ALONE else ():
        if room_of(name) == room and not any(name.startswith(f"{each}.") for each in SHARED):
            yield f"imports its neighbour {name}"


def names_a_kind(file: Source) -> Iterator[str]:
    """Kinds of models that training knows outside the files that are about one."""
    if file.module.startswith("training.") and file.module not in NAMES_A_KIND:
        yield from (f"names {name}" for name in file.imports if room_of(name) in KINDS)


PRODUCT_RULES: tuple[Rule, ...] = (
    stands_in_no_room,
    imports_upwards,
    imports_a_neighbour,
    names_a_kind,
    imports_for_types_only,
    imports_relatively,
    names_a_family,
    prints,
)
PLANTED: dict[Rule, tuple[tuple[str, str], ...]] = {
    stands_in_no_room: (("service/cellar/bad.py", ""), ("models/core/bad.py", "")),
    imports_upwards: (
        ("service/engine/bad.py", "def f():\n    from service.http import call\n"),
        ("models/core/flow/bad.py", "import service.app\n"),
        ("models/core/contract/bad.py", "import models.core.energy.model\n"),
        ("models/bad.py", "from models.core.bundle import bundle\n"),
        ("service/results/bad.py", "from models.core.flow.density import FlowDensity\n"),
        ("training/fit/bad.py", "from models.jem import Model\n"),
        ("training/recipes/vae_bad.py", "from models.jem import Model\n"),
    ),
    imports_a_neighbour: (
        ("models/bad.py", "from models.jem import Model\n"),
        ("service/routes/bad.py", "from service.routes import drift\n"),
    ),
    names_a_kind: (("training/data/bad.py", "from models.core.flow.model import FlowModel\n"),),
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


def test_no_rooms_import_each_other_in_a_circle(tmp_path: Path) -> None:
    assert circle(ROOMS) == []
    assert circle(arrows(ROOMS, PRODUCT)) == []
    for one, other in (("flow", "energy"), ("energy", "flow")):
        (tmp_path / "models/core" / one).mkdir(parents=True)
        text = f"def f():\n    from models.core.{other} import bad\n"
        (tmp_path / "models/core" / one / "bad.py").write_text(text, encoding="utf-8")
    found = circle(arrows(ROOMS, sources(tmp_path, "models")))
    assert set(found) == {"models.core.flow", "models.core.energy"}


def test_every_room_of_the_table_has_files() -> None:
    assert {room_of(file.module) for file in PRODUCT} - {None} == set(ROOMS)


def test_every_rule_has_its_offenders() -> None:
    assert set(PLANTED) == {*PRODUCT_RULES, is_long_or_says_nothing}
    assert len(PRODUCT) > 250
