"""Attribute failures of foreign code: the message names the component, the log has the traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from saeviz.formats.plain import shortened
from saeviz.pipeline.surroundings import Changes
from saeviz.values.checks import said_by
from saeviz.values.errors import ImageError, MalformedError, PluginError, SaevizError

T = TypeVar("T")
LONGEST = 500
"""Of what an exception says."""
logger = logging.getLogger("saeviz")


@contextmanager
def blaming(who: str, log: Path | None, changes: Changes | None = None) -> Iterator[None]:
    """Turn any exception of a component's code into a `PluginError` that names the component.

    `SystemExit` is one of them, as a run would end without a word, and so is the `CancelledError` of asyncio. `log` is
    the file that gets the traceback, None for no file; `changes` are those of code that goes on later.
    """
    try:
        with (changes or Changes(who)).noted():
            yield
    except MalformedError as error:
        raise PluginError(f"{who} fails: {error}") from error
    except (SaevizError, MemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # foreign code may fail in any way
        logger.debug("%s fails", who, exc_info=True)
        where = f"; the traceback is in {log}" if log else ""
        raise PluginError(f"{who} fails with {shortened(said_by(error), LONGEST)}{where}") from error


@contextmanager
def blaming_for_pictures(who: str, log: Path | None, changes: Changes | None = None) -> Iterator[None]:
    """As `blaming`, for code in which a single picture that cannot be read must not end the run."""
    with blaming(who, log, changes):
        try:
            yield
        except ImageError as error:
            raise PluginError(
                f"{who} ends the run because of one picture, which should be reported with context.failed and left "
                f"out: {error}"
            ) from error


def guarded(who: str, log: Path | None, results: Iterable[T]) -> Iterator[T]:
    """The results of a component's generator; its failures, not the consumer's, are handled as by `blaming`.

    A consumer that takes no more ends it; what fails then is only told, as nothing depends on it.
    """
    iterator = iter(results)
    changes = Changes(who, ended=False)
    try:
        while True:
            with blaming_for_pictures(who, log, changes):
                try:
                    result = next(iterator)
                except StopIteration:
                    return
            yield result
    finally:
        changes.ended = True
        try:
            with blaming(who, log, changes):
                if callable(close := getattr(iterator, "close", None)):
                    close()
        except SaevizError as error:
            logger.warning("%s", error)
