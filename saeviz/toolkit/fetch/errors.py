"""Why a URL could not be fetched. Messages quote nothing of the URL except the address of its host."""

from __future__ import annotations


class RefusedError(Exception):
    """The URL cannot be fetched; retrying would not help."""


class TransientError(Exception):
    """The URL could not be fetched this time. `wait` is the server's `Retry-After` in seconds, None if it sent none."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
