"""Which module may import which: design section 8, with the layer of steps of ADR 2."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "plugins" / "vision_batch"
CORES = ("images", "service", "shards", "warehouse", "enrichment")
SHELLS = ("alerts", "hooks", "operators", "sensors", "triggers", "dag", "form", "links", "plugin", "provider")
BOTTOM = ("errors", "models", "store")
# Plain data types, and the one permission of the design.
BETWEEN_CORES = {"service.types": CORES, "images.budget": ("enrichment",)}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Every import, wherever it stands; ``from a import b`` gives ``a`` and ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> set[str]:
    """The modules of the package that one imports, without the package's name."""
    found = {name.removeprefix("vision_batch.") for name in imports(path) if name.startswith("vision_batch.")}
    known = {name_of(module) for module in MODULES}
    return {name for name in found if name in known}


def layer(name: str) -> str:
    return name.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path: Path):
    name, here = name_of(path), layer(name_of(path))
    for other in sorted(ours(path)):
        there = layer(other)
        if here == there:
            continue
        if here in CORES:
            assert there in BOTTOM or here in BETWEEN_CORES.get(other, ()), f"{name} imports {other}"
        elif here in BOTTOM:
            assert there == "errors", f"{name} imports {other}"
        elif here == "steps":
            assert there in (*CORES, *BOTTOM), f"{name} imports {other}"
        elif here == "emulator":
            assert other in {"models", "errors"}, f"{name} imports {other}"
        elif here in SHELLS:
            assert there in (*SHELLS, "steps", *CORES, *BOTTOM), f"{name} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_shells_know_airflow(path: Path):
    if layer(name_of(path)) not in SHELLS:
        assert not [name for name in imports(path) if name.split(".")[0] == "airflow"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_but_the_emulator_itself_imports_the_emulator(path: Path):
    if layer(name_of(path)) not in ("emulator", "cli", "demo"):
        assert not [name for name in imports(path) if name.startswith("vision_batch.emulator")]


def test_modules_are_named_by_what_they_own():
    names = {part for path in MODULES for part in name_of(path).split(".")}
    assert not names & FORBIDDEN_NAMES


def test_modules_stay_readable():
    """Four hundred lines need a word in review; more than that is a second module."""
    assert {name_of(path): lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 400} == {}
