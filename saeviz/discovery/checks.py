"""Check a plugin, its hooks and their specs when it is loaded: mistakes are its author's, and told at once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from types import FunctionType
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from saeviz.contract import hookspecs
from saeviz.contract.options import Options
from saeviz.contract.specs import SPEC_TYPES, ComponentSpec
from saeviz.discovery.foreign import foreign_code
from saeviz.discovery.mistakes import suggest
from saeviz.formats.plain import one_line, quoted
from saeviz.values.citations import Citation
from saeviz.values.columns import ColumnInfo, described
from saeviz.values.errors import PluginError, SaevizError

HOOKS = {spec_type.hook: spec_type for spec_type in SPEC_TYPES}


def check_api(plugin: object) -> None:
    """Raise `PluginError` for a plugin that needs a newer saeviz."""
    api = getattr(plugin, "SAEVIZ_API", hookspecs.API_VERSION)
    if not isinstance(api, int) or isinstance(api, bool) or api < 1:
        raise PluginError(f"its SAEVIZ_API is {quoted(api)}, not a whole number such as {hookspecs.API_VERSION}")
    if api > hookspecs.API_VERSION:
        raise PluginError(f"made for plugin API {api}, but this saeviz has {hookspecs.API_VERSION}; upgrade saeviz")


def check_hooks(plugin: object) -> None:
    """Raise `PluginError` for a misspelt hook or a missing marker, which would otherwise be ignored silently."""
    marked = False
    for name, member in inspect.getmembers(plugin, lambda value: isinstance(value, FunctionType)):
        is_marked = hasattr(member, f"{hookspecs.PROJECT}_impl")
        marked = marked or is_marked
        if is_marked and name not in HOOKS:
            raise PluginError(f"it implements {name}, which is not a hook{suggest(name, HOOKS)}")
        if not is_marked and (name in HOOKS or (name.startswith("saeviz_") and suggest(name, HOOKS))):
            hint = "" if name in HOOKS else suggest(name, HOOKS)
            raise PluginError(f"its function {name} lacks the marker @saeviz.hookimpl{hint}")
        if is_marked and inspect.signature(member).parameters:
            raise PluginError(f"its hook {name} takes arguments, but a hook is called without any; write {name}()")
    if not marked:
        raise PluginError("it implements no hook; mark a function such as saeviz_scorers with @saeviz.hookimpl")


def checked_spec(spec: object, expected: type[ComponentSpec], hook: str) -> ComponentSpec:
    """What a hook yields; raises `PluginError` unless it is a spec of the right kind, without mistakes."""
    if spec is None:
        raise PluginError(f"{hook} gives None; write yield saeviz.{expected.__name__}(...)")
    if not isinstance(spec, expected):
        given = f"the class {spec.__name__}" if isinstance(spec, type) else f"an object of type {type(spec).__name__}"
        raise PluginError(f"{hook} yields {given}; it must yield saeviz.{expected.__name__}(...)")
    if not (isinstance(spec.name, str) and re.fullmatch(r"[a-z0-9][a-z0-9._-]*", spec.name)):
        raise PluginError(f"{hook} yields the name {spec.name!r}; use small letters, digits, '-', '.' and '_'")
    for field in fields(spec):
        _check_field(spec, field.name, hook)
    for declared in (getattr(spec, "columns", ()), getattr(spec, "pair_columns", ())):
        infos = described(declared)  # one name may be that of columns with different options, or of different tables
        if twice := [info.name for info in infos if infos.count(info) > 1]:
            raise PluginError(f"{hook}: {spec.name!r} declares the column {twice[0]!r} more than once")
    if not (isinstance(spec.options, type) and issubclass(spec.options, Options)):
        raise PluginError(f"{hook}: the options of {spec.name!r} are not a subclass of saeviz.Options")
    _check_defaults(spec, hook)
    return spec


def _check_field(spec: ComponentSpec, name: str, hook: str) -> None:
    """Raise `PluginError` for a field of another type than that of its default, or else text."""
    value, default = getattr(spec, name), type(spec).__dataclass_fields__[name].default
    where = f"{hook}: {name} of {spec.name!r}"
    if name in ("factory", "notes"):
        is_named = isinstance(value, str) and re.fullmatch(r"[\w.]+:\w+", value)
        if not (is_named or callable(value) or (value is None and name == "notes")):
            raise PluginError(f"{where} is {quoted(value)}, neither 'package.module:name' nor a function or class")
        if name == "factory" and callable(value) and (mistake := mistake_of_factory(value)):
            raise PluginError(f"{where}: {mistake}")
    elif name == "cites":
        if not (isinstance(value, tuple | list) and all(isinstance(one, Citation) for one in value)):
            raise PluginError(f"{where} is {quoted(value)}, not a tuple of saeviz.Citation")
    elif isinstance(default, tuple):
        if not (isinstance(value, tuple | list) and all(one and isinstance(one, str | ColumnInfo) for one in value)):
            such = "('torch',)" if name == "needs" else "('column',), or of saeviz.ColumnInfo"
            raise PluginError(f"{where} is {quoted(value)}, not a tuple of text such as {such}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise PluginError(f"{where} is {quoted(value)}, not True or False")
    elif name != "options" and not isinstance(value, str):
        raise PluginError(f"{where} is {quoted(value)}, not text")


def mistake_of_factory(factory: Callable[..., Any]) -> str | None:
    """Why a factory cannot be called as `factory(options, context)`; None if it can, or does not say what it takes."""
    try:
        takes = inspect.signature(factory)
    except (TypeError, ValueError):
        return None
    try:
        takes.bind(None, None)
    except TypeError:
        called = getattr(factory, "__qualname__", type(factory).__qualname__)
        hint = "; give it def __init__(self, options, context)" if isinstance(factory, type) else ""
        return f"a factory is called with (options, context), and {called} takes {takes}{hint}"
    return None


def _check_defaults(spec: ComponentSpec, hook: str) -> None:
    """Raise `PluginError` for a default that its own option refuses: users would be told that they set it wrongly.

    Mistakes of options that have no default, or of several together, are those of a run file that lacks something.
    """
    found, given = [], None
    with suppress(SaevizError), foreign_code("the check of the defaults fails"):  # said when it is asked for
        try:
            given = spec.options.model_validate({})
        except ValidationError as error:
            found = error.errors()
    try:
        if given is not None:
            given.model_dump(mode="json")
    except PydanticSerializationError as error:
        said = one_line(str(error))
        raise PluginError(
            f"{hook}: the defaults of {spec.name!r} cannot be written as JSON, as those of a run are: {said}"
        ) from error
    for mistake in found:
        name, message = (*mistake["loc"], None)[0], mistake["msg"]
        if name in spec.options.model_fields and mistake["type"] not in ("missing", "value_error", "assertion_error"):
            raise PluginError(
                f"{hook}: the default of the option {name!r} of {spec.name!r} is {quoted(mistake['input'])}, which the "
                f"option does not allow: {message[:1].lower()}{message[1:]}"
            )
