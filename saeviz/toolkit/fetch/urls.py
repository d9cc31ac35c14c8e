"""URLs that may hold secrets: shown without them, named without them."""

from __future__ import annotations

import re
from hashlib import sha256

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether it begins with a scheme, `https://` or another."""
    return _URL.match(text) is not None


def redacted(url: str) -> str:
    """The URL without user, password, query and fragment, in which secrets are; `?...` stands for a query."""
    address, question_mark, _ = url.partition("#")[0].partition("?")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}{'?...' if question_mark else ''}"


def host_of(url: str) -> str:
    """The host, and the port where one is given; '' where there is none."""
    return redacted(url).partition("://")[2].partition("/")[0].lower()


def name_of(url: str) -> str:
    """An item id for what the URL shows: the URL without secrets, with a digest in place of a query."""
    shown = redacted(url)
    return f"{shown.removesuffix('?...')}?{digest(url)[:12]}" if shown.endswith("?...") else shown


def digest(url: str) -> str:
    """64 hex digits that stand for the URL."""
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
