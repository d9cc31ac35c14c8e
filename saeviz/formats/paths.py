"""Resolve paths as users write them: relative to the file they are in, `~` for the home directory."""

from __future__ import annotations

from pathlib import Path

from saeviz.formats.plain import quoted
from saeviz.values.errors import ConfigError


def absolute(text: str, base: Path) -> Path:
    """The absolute path, relative to `base` and with links resolved. Raises `ConfigError` if the text is not a path."""
    try:
        path = base / Path(text).expanduser()
        exists(path)
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{quoted(text)} cannot be a path: {reason[:1].lower()}{reason[1:]}") from error


def exists(path: Path) -> bool:
    """Whether a path exists; also True if this user may not access it."""
    try:
        return path.exists()
    except PermissionError:
        return True


def default_cache_dir() -> Path:
    """`~/.cache/saeviz`. Raises `ConfigError` if there is no home directory."""
    try:
        return Path("~", ".cache", "saeviz").expanduser()
    except RuntimeError as error:
        raise ConfigError(
            "run.cache_dir: no home directory for the shared cache; set HOME, or set run.cache_dir"
        ) from error
