"""Why a URL could not be fetched. Messages quote nothing of the URL except the address of its host."""

from __future__ import annotations

from saeviz.toolkit.retrying import NotNowError


class RefusedError(Exception):
    """The URL cannot be fetched; retrying would not help."""


class TransientError(NotNowError):
    """It could not be fetched this time."""
