"""Find the image files below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from saeviz.toolkit.files import is_run_directory, real_path
from saeviz.toolkit.images import IMAGE_ENDINGS, is_heatmap

NOT_MENTIONED = frozenset({"thumbs.db", "desktop.ini", ".ds_store"})
CONVERT = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC cannot be read; export as JPEG, or convert with heif-convert"),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2"),
        "raw photographs cannot be read; export them as JPEG or TIFF",
    ),
    **dict.fromkeys((".svg", ".eps", ".ai", ".pdf"), "drawings cannot be read; export them as PNG"),
}


@dataclass
class Found:
    """Contents of a folder: the images in the order of their paths, and what was skipped."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    heatmaps: list[Path] = field(default_factory=list)
    hidden: list[Path] = field(default_factory=list)
    no_files: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def notes(self, tables: Collection[Path]) -> Iterator[str]:
        """What was skipped and why; `tables` are files that are used otherwise."""
        for path in sorted(self.unreadable):
            yield f"the folder {relative_name(path, self.folder)} cannot be read"
        yield from self._left_out(self.runs, "run directory of saeviz", "run directories of saeviz")
        yield from self._left_out(self.heatmaps, "heatmap of saeviz", "heatmaps of saeviz")
        yield from self._left_out(self.hidden, "hidden folder or image", "hidden folders or images")
        yield from self._left_out(
            self.no_files, "link or device that leads to no file", "links or devices that lead to no file"
        )
        used = {real_path(path) for path in tables}
        endings = Counter(path.suffix.lower() for path in self.others if real_path(path) not in used)
        if endings:
            counts = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in endings.most_common())
            files = "file that is not an image was" if endings.total() == 1 else "files that are not images were"
            yield f"{endings.total()} {files} passed over: {counts}"
        for reason in dict.fromkeys(CONVERT[ending] for ending in sorted(endings) if ending in CONVERT):
            mentioned = {ending: count for ending, count in endings.items() if CONVERT.get(ending) == reason}
            yield f"{', '.join(f'{count} {ending}' for ending, count in sorted(mentioned.items()))}: {reason}"

    def _left_out(self, paths: list[Path], one: str, many: str) -> Iterator[str]:
        if paths:
            names = [relative_name(path, self.folder) for path in sorted(paths)]
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            yield f"{len(names)} {one if len(names) == 1 else many} left out: {shown}"


def is_image_name(path: Path) -> bool:
    """Whether the file extension is that of an image, in upper or lower case."""
    return path.suffix.lower() in IMAGE_ENDINGS


def find_images(folder: Path) -> Found:
    """What lies below `folder`.

    Hidden files and folders, run directories and heatmaps are left out. Links are followed; a folder that is reached
    twice counts once.
    """
    found = Found(folder)
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            entries = list(os.scandir(current))
        except OSError:
            found.unreadable.append(current)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        if any(entry.name == "run.json" for entry in entries) and is_run_directory(current):
            found.runs.append(current)
            continue
        for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
            _take(entry, found, waiting)
    found.images.sort()
    return found


def _take(entry: os.DirEntry[str], found: Found, waiting: list[Path]) -> None:
    path = Path(entry.path)
    is_folder = _is_true(entry.is_dir)
    if entry.name.startswith("."):
        if is_folder or is_image_name(path):
            found.hidden.append(path)
    elif is_folder:
        waiting.append(path)
    elif is_image_name(path):
        if not _is_true(entry.is_file):
            found.no_files.append(path)
        else:
            (found.heatmaps if is_heatmap(path) else found.images).append(path)
    elif entry.name.lower() not in NOT_MENTIONED:
        found.others.append(path)


def _is_true(check: Callable[[], bool]) -> bool:
    """Links that lead in a circle are neither folders nor files."""
    try:
        return check()
    except OSError:
        return False


def relative_name(path: Path, folder: Path) -> str:
    """The path from `folder` with forward slashes, as text; bytes that are not UTF-8 are written as escapes."""
    text, prefix = os.fspath(path), f"{folder}{os.sep}"
    # Both are normal paths; taking the front off is ten times as fast as asking for the relative path.
    name = text.removeprefix(prefix) if text.startswith(prefix) else os.path.relpath(path, folder)
    return os.fsencode(name.replace(os.sep, "/")).decode("utf-8", "backslashreplace")
