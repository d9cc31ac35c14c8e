"""The names of the files of a `saeviz.toolkit.shards.ShardStore`: each writer has an index and shards of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from saeviz.formats.files import append_line, explain_disk_errors, read_lines

WRITER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""The name of a writer; the one without a name is `""`."""


@dataclass(frozen=True)
class ShardFiles:
    """`index` is the name of the index of the writer without a name, `suffix` ends those of shards."""

    index: str
    suffix: str

    def index_of(self, folder: Path, writer: str) -> Path:
        """`index.jsonl`, or `index-NAME.jsonl`."""
        stem, suffix = self.index.rsplit(".", 1)
        return folder / (f"{stem}-{writer}.{suffix}" if writer else self.index)

    def indexes(self, folder: Path) -> dict[str, Path]:
        """Those in a folder, by writer."""
        stem, suffix = self.index.rsplit(".", 1)
        named = {path.stem.removeprefix(f"{stem}-"): path for path in folder.glob(f"{stem}-*.{suffix}")}
        found = {writer: path for writer, path in sorted(named.items()) if WRITER.fullmatch(writer)}
        return {"": folder / self.index, **found} if (folder / self.index).is_file() else found

    def shard(self, folder: Path, writer: str, number: int) -> Path:
        """`batch_000001.npz`, or `batch-NAME_000001.npz`."""
        return folder / f"{_stem(writer)}_{number:06d}{self.suffix}"

    def shards(self, folder: Path, writer: str) -> Iterator[Path]:
        """Those of a writer in a folder, whether or not they count."""
        return folder.glob(f"{_stem(writer)}_*{self.suffix}")

    def writers(self, folder: Path) -> set[str]:
        """All that have files in a folder."""
        named = {path.stem.rpartition("_")[0].removeprefix("batch-") for path in self.shards(folder, "*")}
        unnamed = {""} if any(self.shards(folder, "")) else set()
        return {name for name in named if WRITER.fullmatch(name)} | unnamed | set(self.indexes(folder))

    def lines(self, folder: Path) -> dict[str, tuple[Path, list[str]]]:
        """The indexes that are not empty: the file and its lines, by writer. Raises `RunDirError` for a damaged one."""
        found = {writer: (path, read_lines(path)) for writer, path in self.indexes(folder).items()}
        return {writer: (path, lines) for writer, (path, lines) in found.items() if lines}

    def size(self, folder: Path, writer: str) -> int:
        """That of the index of a writer, 0 without one: it changes if another store of this process writes to it."""
        path = self.index_of(folder, writer)
        return path.stat().st_size if path.exists() else 0

    def create(self, folder: Path, writer: str, header: str) -> None:
        """Begin the index of a writer."""
        append_line(self.index_of(folder, writer), header)

    def append(self, folder: Path, writer: str, number: int, line: str) -> None:  # noqa: ARG002 - of objects
        """Add the line of a shard to the index of its writer."""
        append_line(self.index_of(folder, writer), line)

    def sizes(self, folder: Path) -> dict[Path, int]:
        """Those of the indexes: they only grow."""
        return {path: path.stat().st_size for path in self.indexes(folder).values()}


def has_name(writer: str) -> bool:
    """Whether a writer has a name; what stands after a dot tells apart those of one name."""
    return writer.partition(".")[0] != ""


def remove(paths: Iterable[Path]) -> None:
    """Remove files. Raises `RunDirError` if the file system refuses."""
    for path in paths:
        with explain_disk_errors(path, "removed"):
            path.unlink(missing_ok=True)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder, unless something is in it."""
    with explain_disk_errors(folder, "removed"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _stem(writer: str) -> str:
    return f"batch-{writer}" if writer else "batch"
