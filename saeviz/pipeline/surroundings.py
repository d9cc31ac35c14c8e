"""What all components of a process share: one that changes it would change what others do."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

logger = logging.getLogger("saeviz")


class Shared(NamedTuple):
    """One of what is shared: how it is found out, None where it cannot be, and set."""

    find: Callable[[], Any]
    put: Callable[[Any], object]
    by_threads: bool = False
    """Whether all threads share it, so that another one may have changed it, if only for a moment."""


def _folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()  # noqa: PTH109 - called very often
    return None


def _float_errors() -> dict[str, Any] | None:
    return sys.modules["numpy"].geterr() if "numpy" in sys.modules else None


SHARED = {
    "which messages are logged (logging.disable)": Shared(
        lambda: logging.root.manager.disable, logging.disable, by_threads=True
    ),
    "the current folder": Shared(_folder, os.chdir, by_threads=True),
    "what NumPy does at errors of floats (numpy.seterr)": Shared(
        _float_errors, lambda before: sys.modules["numpy"].seterr(**before)
    ),
}
"""Messages first, so that they tell of the others."""


class Changes:
    """What `who` has changed of it: a warning says so, and it is set back, once `who` has ended.

    Code that goes on later, as a generator does, may change something until then. Whatever others change in between
    does not count, nor does anything in a thread. What another thread may have changed is left as it is.
    """

    def __init__(self, who: str, ended: bool = True) -> None:
        self.who = who
        self.ended = ended
        self._before: dict[str, Any] = {}

    @contextmanager
    def noted(self) -> Iterator[None]:
        """The block is code of `who`; one that fails has ended."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {name: shared.find() for name, shared in SHARED.items()}
        try:
            yield
        except BaseException:
            self.ended = True
            raise
        finally:
            self._note(before)
            if self.ended:
                self._set_back()

    def _note(self, before: dict[str, Any]) -> None:
        for name, shared in SHARED.items():
            now = shared.find()
            if before[name] not in (None, now):
                self._before.setdefault(name, before[name])
            if self._before.get(name) == now:
                self._before.pop(name, None)

    def _set_back(self) -> None:
        changed, self._before = self._before, {}
        for name, before in changed.items():
            find, put, by_threads = SHARED[name]
            if find() is None:
                continue
            if by_threads and threading.active_count() > 1:
                logger.warning("%s or another thread changed %s, which others depend on", self.who, name)
                continue
            with suppress(OSError):
                put(before)
                logger.warning("%s changed %s, which others depend on; it is set back", self.who, name)
