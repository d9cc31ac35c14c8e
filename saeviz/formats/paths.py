"""Paths as users write them: relative to where they were written, `~` for the home directory."""

from __future__ import annotations

from pathlib import Path

from saeviz.formats.plain import quoted
from saeviz.values.errors import ConfigError


def absolute(text: str, base: Path) -> Path:
    """The path, relative to `base` and without links; raises `ConfigError` where no path can be made of the text."""
    try:
        path = base / Path(text).expanduser()
        exists(path)
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{quoted(text)} cannot be a path: {reason[:1].lower()}{reason[1:]}") from error


def exists(path: Path) -> bool:
    """Whether something is there; also true of what this user is not allowed to see."""
    try:
        return path.exists()
    except PermissionError:
        return True


def default_cache_dir() -> Path:
    """`~/.cache/saeviz`; raises `ConfigError` where there is no home directory."""
    try:
        return Path("~", ".cache", "saeviz").expanduser()
    except RuntimeError as error:
        raise ConfigError(
            "run.cache_dir: no home directory for the shared cache; set HOME, or set run.cache_dir"
        ) from error
