"""Every hook is documented with an example, takes no arguments and has a spec type of its own."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from saeviz.contract import hookspecs
from saeviz.discovery.manager import HOOKS

ROOT = Path(__file__).resolve().parents[2]
DECLARED = {name: value for name, value in vars(hookspecs).items() if name.startswith("saeviz_")}


def test_each_hook_has_one_spec_type():
    assert set(DECLARED) == set(HOOKS)


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_hook_shows_how_it_is_used(name):
    hook = DECLARED[name]
    assert inspect.signature(hook).parameters == {}
    assert "@saeviz.hookimpl" in hook.__doc__
    assert f"saeviz.{HOOKS[name].__name__}(" in hook.__doc__


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_a_hook_is_in_the_documentation(name):
    assert f"`{name}`" in (ROOT / "docs" / "reference" / "hooks.md").read_text()
