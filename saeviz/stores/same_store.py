"""Detect whether two differently named stores are the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from saeviz.values.regular import real_path

if TYPE_CHECKING:
    from saeviz.stores.places import Place

_PORTS = {"http": 80, "https": 443, "postgresql": 5432}
_HOSTS = {"127.0.0.1": "localhost", "::1": "localhost", "": "localhost"}


def is_same_store(one: Place, other: Place) -> bool:
    """Whether both are the same store, even if named by a link or another form of the path or URL.

    Two runs in one database are two stores.
    """
    if one.config.use != other.config.use:
        return False
    if one.config.identity() == other.config.identity() and one.workdir == other.workdir:
        return True
    if getattr(one.config.options, "run", None) != getattr(other.config.options, "run", None):
        return False
    addresses = _address(one), _address(other)
    if any(addresses):
        return addresses[0] == addresses[1]
    return _is_same_path(_path(one), _path(other))


def _address(place: Place) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and what comes after, without user, password and parameters; None where there is no URL."""
    url = getattr(place.config.options, "url", None)
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    if not text:
        return None
    parts = urlsplit(str(text))
    scheme = parts.scheme.partition("+")[0].lower()
    scheme = "postgresql" if scheme == "postgres" else scheme
    try:
        host, port = (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme)
    except ValueError:
        host, port = parts.netloc, None
    return scheme, _HOSTS.get(host, host), port, parts.path.rstrip("/")


def _path(place: Place) -> tuple[Path, bool]:
    """Where it is, and whether its options say so: else it is in this folder, or is a file there."""
    path = getattr(place.config.options, "path", None)
    return (Path(path), True) if path is not None else (place.workdir, False)


def _is_same_path(one: tuple[Path, bool], other: tuple[Path, bool]) -> bool:
    for (here, _), (there, is_told) in ((one, other), (other, one)):
        candidates = [there] if is_told or not here.is_file() else [there, *there.glob(here.name)]
        if any(_are_one(here, candidate) for candidate in candidates):
            return True
    return False


def _are_one(here: Path, there: Path) -> bool:
    if real_path(here) == real_path(there):
        return True
    return here.exists() and there.exists() and here.samefile(there)
