"""Whoever annotates with what a public signature says finds every name of it in `saeviz` or `saeviz.typing`."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from types import FunctionType
from typing import Any

import pytest

import saeviz
import saeviz.typing

PUBLIC = {*saeviz.__all__, *vars(saeviz.typing)}
MADE_BY_SAEVIZ = {"Run", "RatingModels"}
"""Classes that nobody calls: `open_run`, `run` and an open run give them."""


@cache
def names_of_saeviz(module: str) -> set[str]:
    """What a module defines or imports from saeviz, for annotations too."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(sys.modules[module]))))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("saeviz")]
    return {
        *(alias.asname or alias.name for node in imports for alias in node.names),
        *(node.name for node in nodes if isinstance(node, ast.ClassDef)),
        *(name.id for node in nodes if isinstance(node, ast.Assign) for name in node.targets if hasattr(name, "id")),
    }


def annotated(name: str, thing: Any) -> Iterator[Any]:
    """What has annotations that a user reads: a function, or a class with its public methods."""
    if isinstance(thing, FunctionType):
        yield thing
    elif inspect.isclass(thing):
        yield thing
        for attribute, found in vars(thing).items():
            bare = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
            bare = bare.func if isinstance(bare, cached_property) else bare
            hidden = attribute.startswith("_") if name in MADE_BY_SAEVIZ else re.match(r"_(?!_init__)", attribute)
            if isinstance(bare, FunctionType) and not hidden:
                yield bare


@pytest.mark.parametrize("name", saeviz.__all__)
def test_public_signatures_name_public_types(name):
    for thing in annotated(name, getattr(saeviz, name)):
        annotations = {key: text for key, text in inspect.get_annotations(thing).items() if key != "self"}
        text = re.sub(
            r"'[^']*'|\"[^\"]*\"", "", " ".join(map(str, annotations.values()))
        )  # values of a Literal are no types
        words = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", text))
        inner = (words & names_of_saeviz(thing.__module__)) - PUBLIC
        assert not inner, f"{thing.__qualname__} is annotated with {', '.join(sorted(inner))}"
