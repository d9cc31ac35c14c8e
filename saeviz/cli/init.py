"""`saeviz init`: write a commented run file, generated from the options that plugins declare."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from saeviz.api import choose_plugins
from saeviz.cli.common import chosen, force_option, plugins_option, refuse_existing, say, tell_problems
from saeviz.config.schema import DEFAULT_USE, LISTS, RunSettings
from saeviz.discovery.manager import Manager
from saeviz.formats.files import write_atomic
from saeviz.formats.toml import toml_key, toml_value
from saeviz.values.errors import ExitCode

HEAD = """\
# A run file of saeviz: `saeviz check {name}` checks it, `saeviz run {name}` runs it.
# Paths are relative to this file. A line that begins with # shows a default;
# `saeviz plugins` lists the values of `use`, `saeviz plugins ROLE:NAME` the options of a component.
"""

ASKED: dict[str, dict[str, str]] = {"images": {"path": "images", "ratings": "ratings.csv"}}
"""Values to be filled in by the user."""


@click.command()
@click.argument("run_file", default="saeviz.toml", type=click.Path(path_type=Path, dir_okay=False))
@force_option
@plugins_option
def init(run_file: Path, force: bool, plugin_words: tuple[str, ...]) -> int:
    """Write a commented run file with the default components."""
    refuse_existing(run_file, force=force, how="")
    manager = Manager.discover(choose_plugins(chosen(plugin_words), []))
    tell_problems(manager)
    write_atomic(run_file, "\n".join(_lines(manager, run_file.name)) + "\n")
    say(run_file)
    return ExitCode.DONE


def _lines(manager: Manager, name: str) -> Iterator[str]:
    yield HEAD.format(name=name)
    yield from _table("[run]", None, RunSettings, {})
    for role in ("images", "extractor", "store", "embeddings"):
        yield from _component(manager, f"[{role}]", role, DEFAULT_USE[role])
    yield "# A second embedding: monosemanticity is also computed with it, and the agreement of both."
    yield f"# One of: {', '.join(manager.names('embeddings'))}"
    yield "# [second_embeddings]"
    yield '# use = "timm"\n'
    for use in LISTS["scorers"][1]:
        yield from _component(manager, "[[scorers]]", "scorer", use)
    yield from _component(manager, "[selector]", "selector", DEFAULT_USE["selector"])
    yield "# Names for the selected features; without this table they stay unnamed."
    yield f"# One of: {', '.join(manager.names('labeler'))}"
    yield "# [labeler]"
    yield '# use = "clip-vocabulary"\n'
    yield '# With [judge] and use = "labeler", names are tested on images that the labeler has not seen.\n'
    for use in LISTS["reporters"][1]:
        yield from _component(manager, "[[reporters]]", "reporter", use)
    yield from _component(manager, "[executor]", "executor", DEFAULT_USE["executor"])


def _component(manager: Manager, header: str, role: str, use: str) -> Iterator[str]:
    spec = manager.offer(role, use).spec
    yield f"# {spec.summary}"
    yield from _table(header, use, spec.options, ASKED.get(role, {}))


def _table(header: str, use: str | None, options: type[BaseModel], asked: dict[str, str]) -> Iterator[str]:
    yield header
    if use:
        yield f"use = {toml_value(use)}"
    for name, field in options.model_fields.items():
        yield from textwrap.wrap(
            field.description or "", 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
        yield f"{name} = {_toml(asked[name])}" if name in asked else _example(name, field)
    yield ""


def _example(name: str, field: FieldInfo) -> str:
    name = toml_key(name)
    if field.is_required():
        return f"{name} = "
    default = field.get_default(call_default_factory=True)
    return f"# {name} = {_toml(default)}" if default is not None else f"# {name} ="


def _toml(value: Any) -> str:
    return toml_value(to_jsonable_python(value))
