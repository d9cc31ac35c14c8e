"""Code of plugins while they are loaded: what it raises becomes an error that says what failed and where."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saeviz.contract import hookspecs
from saeviz.values.checks import said_by
from saeviz.values.errors import PluginError, SaevizError

NOT_OF_PLUGINS = (Path(hookspecs.__file__).parent.parent, Path(importlib.__file__).parent)
"""Folders of code that imports plugins."""


class ForeignError(PluginError):
    """A plugin's own code failed; `details` is the traceback."""

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


@contextmanager
def foreign_code(what: str, *, imported: bool = False) -> Iterator[None]:
    """Turn any exception of a plugin's code into a `PluginError`; `what` says what failed.

    With `imported` it is the plugin's module that is run, and the message says in which line.
    """
    try:
        yield
    except (SaevizError, MemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        said = f"{what} with {said_by(error)}{_line_of(error) if imported else ''}"
        raise ForeignError(said, traceback.format_exc()) from error


def _line_of(error: BaseException) -> str:
    """The last line in the plugin's own folder that led to an error, as Python writes it of a syntax error."""
    if isinstance(error, SyntaxError):
        return ""  # it is in the text
    frames = [(Path(one.filename), one.lineno) for one in traceback.extract_tb(error.__traceback__)]
    foreign = [one for one in frames if one[0].is_absolute() and not any(map(one[0].is_relative_to, NOT_OF_PLUGINS))]
    own = [(path, line) for path, line in foreign if path.parent == foreign[0][0].parent]
    return f" ({own[-1][0].name}, line {own[-1][1]})" if own else ""
