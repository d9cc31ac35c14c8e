"""With `SAEVIZ_TRACE=1`: who was asked for what and how long it took, a line each on stderr."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from saeviz.contract import blocks, merging, roles, stores
from saeviz.formats.plain import one_line
from saeviz.values.features import FeatureSpace
from saeviz.values.texts import Texts

T = TypeVar("T")
CONTRACTS = (roles, stores, merging, blocks)
LONGEST = 40
"""Characters of an argument."""


def is_traced() -> bool:
    """Whether the user wants to see it."""
    return os.environ.get("SAEVIZ_TRACE", "") not in ("", "0")


@contextmanager
def asked(who: object, what: str) -> Iterator[None]:
    """Say how long the block took, in which `who` was asked for `what`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        if is_traced():
            _say(who, what, time.perf_counter() - started)


def watched(component: T, who: str) -> T:
    """The component; if calls are traced, each call of a method that a role or a capability asks for is."""
    if is_traced():
        known = {name for module in CONTRACTS for kind in vars(module).values() for name in _methods_of(kind)}
        for name, member in inspect.getmembers_static(type(component)):
            if name in known and inspect.isfunction(member):
                try:
                    setattr(component, name, _watched(getattr(component, name), who))
                except AttributeError:  # it has slots
                    break
    return component


def _methods_of(kind: object) -> list[str]:
    members = vars(kind) if getattr(kind, "_is_protocol", False) else {}
    return [name for name, member in members.items() if not name.startswith("_") and inspect.isfunction(member)]


def _watched(method: Callable[..., Any], who: str) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        given = [_in_words(value) for value in arguments]
        given += [f"{name}={_in_words(value)}" for name, value in options.items()]
        what, started = f"{method.__name__}({', '.join(given)})", time.perf_counter()
        found = method(*arguments, **options)
        if isinstance(found, Iterator):
            return _counted(found, who, what)
        _say(who, what, time.perf_counter() - started)
        return found

    return call


def _counted(found: Iterator[T], who: str, what: str) -> Iterator[T]:
    """What a generator gives; the time is that in it, without that of whoever asks."""
    spent, n = 0.0, 0
    try:
        while True:
            started = time.perf_counter()
            try:
                one = next(found)
            except StopIteration:
                return
            finally:
                spent += time.perf_counter() - started
            n += 1
            yield one
    finally:
        if inspect.isgenerator(found):
            found.close()
        _say(who, f"{what} gave {n}", spent)


def _say(who: object, what: str, seconds: float) -> None:
    line = one_line(f"trace: {seconds:8.3f} s  {who}: {what}")
    print(f"{line}\n", end="", file=sys.stderr)  # in one piece, as threads write at the same time


def _in_words(value: object) -> str:
    if isinstance(value, str | int | float | None):
        text = repr(value)
    elif isinstance(value, FeatureSpace):
        text = str(value)
    elif isinstance(value, list | tuple | Texts):
        text = f"{len(value)} of {type(value[0]).__name__}" if value else "none"
    else:
        text = type(value).__name__
    space = getattr(value, "space", None)
    text = f"{text} of {space}" if isinstance(space, FeatureSpace) else text
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
