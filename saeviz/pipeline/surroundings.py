"""What all components of a process share: one that changes it would change what others do."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

logger = logging.getLogger("saeviz")


def _folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()  # noqa: PTH109 - called very often
    return None


def _float_errors() -> dict[str, Any] | None:
    return sys.modules["numpy"].geterr() if "numpy" in sys.modules else None


SHARED: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "which messages are logged (logging.disable)": (lambda: logging.root.manager.disable, logging.disable),
    "the current folder": (_folder, os.chdir),
    "what NumPy does at errors of floats (numpy.seterr)": (
        _float_errors,
        lambda before: sys.modules["numpy"].seterr(**before),
    ),
}
"""How each is found out and set; messages first, so that they tell of the others."""


@contextmanager
def unchanged(who: str) -> Iterator[None]:
    """What is shared is as before when the block ends; a warning says what `who` has changed.

    Not in threads, where others may change it for a moment.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: find() for name, (find, _) in SHARED.items()}
    try:
        yield
    finally:
        for name, (find, put) in SHARED.items():
            if before[name] is not None and find() != before[name]:
                put(before[name])
                logger.warning("%s changed %s, which others depend on; it is set back", who, name)
