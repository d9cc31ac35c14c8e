"""Compare file names whatever their Unicode form: é as one character (NFC) or as two, as macOS writes it (NFD)."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize


def same_form(name: str) -> str:
    """The name in NFC, the form in which names are compared."""
    return name if name.isascii() else normalize("NFC", name)


def existing(path: Path) -> Path:
    """The existing file whose name equals this one in any Unicode form; the path itself if there is none."""
    text = os.fspath(path)
    if text.isascii() or "\0" in text or is_there(path):
        return path
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        step = found / part
        if part not in (".", "..") and not is_there(step):
            step = found / _entries(os.fspath(found)).get(same_form(part), part)
        found = step
    return found if is_there(found) else path


def is_there(path: Path) -> bool:
    """Whether a path exists; False, not an error, for invalid paths."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


@lru_cache(64)
def _entries(folder: str) -> dict[str, str]:
    """The entries of a folder, by their names in NFC."""
    try:
        return {same_form(name): name for name in os.listdir(folder or ".")}  # noqa: PTH208
    except OSError:
        return {}
