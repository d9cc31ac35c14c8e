"""Every number that an option takes has an upper bound: nothing is allocated or waited for without end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic import Field

import saeviz
from saeviz.config.schema import RunSettings
from saeviz.discovery.manager import Manager


def is_number(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return False
    if isinstance(annotation, type) and issubclass(annotation, int | float):
        return annotation is not bool
    return any(is_number(part) for part in get_args(annotation))


def marks(annotation: Any) -> Iterator[Any]:
    for mark in getattr(annotation, "__metadata__", ()):
        yield mark
        yield from getattr(mark, "metadata", ())
    for part in get_args(annotation):
        yield from marks(part)


def numbers() -> list[tuple[str, Any]]:
    models = {"run": RunSettings}
    models |= {f"{role}:{name}": offer.spec.options for (role, name), offer in Manager.discover().offers.items()}
    return [
        (f"{component}.{name}", field)
        for component, model in models.items()
        for name, field in model.model_fields.items()
        if is_number(field.annotation)
    ]


def test_every_number_has_an_upper_bound():
    upper = (annotated_types.Le, annotated_types.Lt)
    without = [
        name
        for name, field in numbers()
        if not any(isinstance(mark, upper) for mark in (*field.metadata, *marks(field.annotation)))
    ]

    assert len(numbers()) > 50
    assert without == []


@pytest.mark.parametrize("value", ["1e9", "1e18", "inf", "nan"])
def test_a_number_beyond_it_is_refused_by_name(saeviz_command, fake_run, value):
    scorers = f"scorers=[{{use='raters', splits={value}}}, {{use='pearson-bh', permutations={value}}}]"
    ended = saeviz_command("check", fake_run, "--set", scorers, "--set", f"run.top_images={value}")

    assert ended.code == 2
    for option in ("scorers.0.splits", "scorers.1.permutations", "run.top_images"):
        assert f"{option}: " in ended.err


def test_a_plugin_of_the_tests_is_found_by_the_same_rule():
    class Unbounded(saeviz.Options):
        sizes: dict[str, tuple[int, ...]] = Field({})
        flag: bool = True

    assert [is_number(field.annotation) for field in Unbounded.model_fields.values()] == [True, False]
