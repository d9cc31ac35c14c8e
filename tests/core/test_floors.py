"""The rooms of the core and the floors they stand on, bottom to top: a room imports only rooms below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import saeviz

FLOORS = (
    "typing",
    "values",
    "formats pictures",
    "contract",
    "discovery cache",
    "config toolkit display",
    "results",
    "pipeline comparison",
    "pipeline.naming pipeline.sharing stores",
    "pipeline.stages",
    "pipeline.run pipeline.run_part",
    "api serving",
    "cli testing",
)
LEVELS = {f"saeviz.{room}": level for level, floor in enumerate(FLOORS) for room in floor.split()}
CORE = Path(saeviz.__file__).parent
MODULES = {
    ".".join(path.relative_to(CORE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in CORE.rglob("*.py")
}


def room_of(module: str) -> str | None:
    """The innermost room a module is in; None for `saeviz` itself, which gathers the public names."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 1, -1))
    return next((name for name in names if name in LEVELS), None)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("saeviz"):
            yield from (name for alias in node.names if (name := f"{node.module}.{alias.name}") in MODULES)
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("saeviz."))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_imports_upwards(module):
    room = room_of(module)
    if room is None:
        assert module in {"saeviz", "saeviz.__main__"}, f"{module} is in no room"
        return
    upwards = {
        name
        for name in imported(MODULES[module])
        if (other := room_of(name)) != room and (other is None or LEVELS[other] >= LEVELS[room])
    }
    assert not upwards, f"{module} imports {', '.join(sorted(upwards))}, which is not below {room}"
