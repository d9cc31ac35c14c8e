"""Building blocks shared by plugins; the core itself does not use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saeviz.toolkit.tokens import TokenExtractor

__all__ = ["TokenExtractor"]


def __getattr__(name: str) -> Any:
    """`TokenExtractor`, which is imported only for those that ask for it."""
    if name != "TokenExtractor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from saeviz.toolkit.tokens import TokenExtractor

    return TokenExtractor
