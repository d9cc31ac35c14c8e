"""Waiting for what another process or thread does, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 600
"""Seconds after which something hangs. No test depends on anything being faster."""


def wait_until(happens: Callable[[], object], is_alive: Callable[[], object] = lambda: True) -> None:
    """Return when `happens()`; fails where it can no longer, as what should bring it about has ended or hangs."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert is_alive(), "it has ended before that"
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.01)
