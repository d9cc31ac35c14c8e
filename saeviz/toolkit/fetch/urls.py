"""Handle URLs that may contain secrets: redact them, and derive ids without them."""

from __future__ import annotations

import re
from hashlib import sha256

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether the text begins with a scheme such as `https://`."""
    return _URL.match(text) is not None


def redacted(url: str) -> str:
    """The URL without its possibly secret parts: user, password, query (shown as `?...`) and fragment."""
    address, question_mark, _ = url.partition("#")[0].partition("?")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}{'?...' if question_mark else ''}"


def host_of(url: str) -> str:
    """The host with the port, if one is given; '' for a URL without a host."""
    return redacted(url).partition("://")[2].partition("/")[0].lower()


def name_of(url: str) -> str:
    """An item id for the URL: the URL without secrets, with a digest in place of the query."""
    shown = redacted(url)
    return f"{shown.removesuffix('?...')}?{digest(url)[:12]}" if shown.endswith("?...") else shown


def digest(url: str) -> str:
    """The SHA-256 digest of the URL, 64 hex digits."""
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
