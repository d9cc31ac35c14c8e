"""Why a URL gives no picture. The texts hold nothing of the URL but its host's address."""

from __future__ import annotations


class RefusedError(Exception):
    """It will not be had; asking again is no use."""


class TransientError(Exception):
    """It was not to be had this time. `wait` is how many seconds later to ask again, if the server says."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
