"""Who may import whom: the core no plugin, a plugin nothing of the core but what is public."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import saeviz

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted((ROOT / "saeviz").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
FOR_PLUGINS = ("saeviz.toolkit", "saeviz.testing", "saeviz.typing")


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Every module that a file imports anywhere, with the names it takes from it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_imports_no_plugin(path):
    assert [module for module, _ in imports(path) if top(module).startswith("saeviz_")] == []


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_public_names_only(path):
    for module, names in imports(path):
        if module == "saeviz":
            assert set(names) <= set(saeviz.__all__), f"{names} of saeviz"
        elif top(module) == "saeviz":
            assert module.startswith(FOR_PLUGINS), f"{module} is not for plugins"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_stands_by_itself(path):
    mine = path.relative_to(ROOT / "plugins").parts[0]
    others = [top(module) for module, _ in imports(path) if top(module).startswith("saeviz_")]
    assert set(others) <= {mine}


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_plugins_and_tests_use_the_toolkit(path):
    if path.relative_to(ROOT / "saeviz").parts[0] not in ("toolkit", "testing"):
        assert [module for module, _ in imports(path) if module.startswith("saeviz.toolkit")] == []
