"""A file per item, `{feature: value}`, and folders of other programs that have no index."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.files import (
    UNREADABLE,
    Stamp,
    append_line,
    checked_line,
    explain_disk_errors,
    parse_line,
    read_lines,
    read_regular,
    remove_temporaries,
    write_atomic,
)
from saeviz.toolkit.spaces import record_of, space_folder, space_folders, space_in_header, space_of, space_of_folder
from saeviz_json.names import FILES, FOLDERS, ITEMS, file_name, folded
from saeviz_json.rows import read_json, row_texts, to_matrix

if TYPE_CHECKING:
    from saeviz.typing import CSR

WINDOW = 128
"""Items that `read` gives at once."""
_DAMAGED: tuple[type[Exception], ...] = (*UNREADABLE, saeviz.DataError)


@dataclass
class _Folder:
    """The items of one space: `files[item_id]` is the file that has its features, relative to `path`.

    A file of `batches` has several items. `stamps` are of the files that this store has written.
    """

    path: Path
    space: saeviz.FeatureSpace
    files: dict[str, str] = field(default_factory=dict)
    batches: set[str] = field(default_factory=set)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    is_indexed: bool = False
    is_clean: bool = False

    def is_whole(self, name: str) -> bool:
        """Whether a file is there and, where this is known, as it was written."""
        return self.stamps[name].fits(self.path / name) if name in self.stamps else (self.path / name).exists()

    @cached_property
    def taken(self) -> dict[str, str]:
        return {folded(name): item_id for item_id, name in self.files.items()}


class ItemFiles:
    """`layer_{L}/{cls|spatial|patch-mean}/{item}.json`, with `items.jsonl`, which maps items to files.

    A folder without an index, as other programs leave it, is read as it is: `{item}.json` and
    `batch_{n}.json`; the first is preferred if an item is in both. It gets an index when it is written to.
    """

    def __init__(self, root: Path, n_features: int, context: saeviz.Context) -> None:
        self.root = root
        self.n_features = n_features
        self.context = context

    def has_folder(self, space: saeviz.FeatureSpace) -> bool:
        """Whether the layer and tokens are kept here, with however many features."""
        return space_folder(self.root, space, FOLDERS) in self._folders

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Keep a batch, file by file; each is replaced as a whole, and new ones count with the line in the index."""
        if not len(batch):
            return
        folder = self._folder_to_write(batch.space)
        new: dict[str, str] = {}
        stamps: dict[str, Stamp] = {}
        replaced = {folder.files[item_id] for item_id in batch.item_ids if item_id in folder.files} & set(folder.stamps)
        if replaced:  # a crash leaves the old file or the new one, and no stamp that fits only one of them
            append_line(folder.path / ITEMS, checked_line({"files": dict.fromkeys(sorted(replaced))}))
        for item_id, row in zip(batch.item_ids, row_texts(batch), strict=True):
            name = folder.files.get(item_id)
            if name is None or name in folder.batches:
                name = new[item_id] = file_name(item_id, folder.taken)
                folder.taken[folded(name)] = item_id
            write_atomic(folder.path / name, f"{row}\n")
            stamps[name] = Stamp.of(folder.path / name)
        append_line(folder.path / ITEMS, checked_line({"items": new, "files": stamps}))
        folder.files.update(new)
        folder.stamps.update(stamps)

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Stream the batches of a space; with `item_ids` exactly these, in this order."""
        folder = self._folder(space) or _Folder(space_folder(self.root, space, FOLDERS), space)
        wanted = list(folder.files) if item_ids is None else list(item_ids)
        missing = next((item_id for item_id in wanted if item_id not in folder.files), None)
        if missing is not None:
            raise saeviz.DataError(f"{space}: the store has no item {missing!r}")
        for start in range(0, len(wanted), WINDOW):
            yield self._gather(folder, tuple(wanted[start : start + WINDOW]))

    def item_ids(self, space: saeviz.FeatureSpace) -> list[str]:
        """The items kept for a space, in the order they came in; without an index by file."""
        folder = self._folder(space)
        return list(folder.files) if folder else []

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces that hold at least one item."""
        return [folder.space for folder in self._folders.values() if folder.files]

    def forget(self) -> None:
        """Take no notice of what was read so far, as the files have been removed."""
        self.__dict__.pop("_folders", None)

    @cached_property
    def _folders(self) -> dict[Path, _Folder]:
        found = (self._load(path) for path in feature_folders(self.root))
        return {folder.path: folder for folder in found if folder is not None}

    def _load(self, path: Path) -> _Folder | None:
        if (path / ITEMS).exists():
            folder = _read_index(path)
            for item_id in [item_id for item_id, name in folder.files.items() if not folder.is_whole(name)]:
                file = path / folder.files.pop(item_id)
                what = "was changed or damaged since it was written" if file.exists() else "is missing"
                self.context.logger.warning("%s %s: its item is extracted again", file, what)
            return folder
        return None if FILES.indexes(path) else self._scan(path)

    def _scan(self, path: Path) -> _Folder | None:
        """A folder without an index; its files say what is in it."""
        folder = _Folder(path, space_of_folder(self.root, path, self.n_features, FOLDERS))
        single: dict[str, str] = {}
        for file in sorted(path.rglob("*.json"), key=_in_order):
            name = file.relative_to(path).as_posix()
            items = _items_of_batch(file) if file.name.startswith("batch_") else None
            if items is None:
                single[name.removesuffix(".json")] = name
            else:
                folder.files.update(dict.fromkeys(items, name))
                folder.batches.add(name)
        folder.files.update(single)
        return folder if folder.files else None

    def _folder(self, space: saeviz.FeatureSpace) -> _Folder | None:
        folder = self._folders.get(space_folder(self.root, space, FOLDERS))
        return folder if folder is not None and folder.space == space else None

    def _folder_to_write(self, space: saeviz.FeatureSpace) -> _Folder:
        path = space_folder(self.root, space, FOLDERS)
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = _Folder(path, space)
        if folder.space != space:
            raise saeviz.DataError(
                f"{space}: {path} holds {folder.space.n_features} features of this layer, not {space.n_features}; "
                "remove it, or use another folder for another SAE"
            )
        if not folder.is_indexed:
            write_atomic(path / ITEMS, "".join(f"{checked_line(line)}\n" for line in _index_lines(folder)))
            folder.is_indexed = True
        if not folder.is_clean:
            remove_temporaries(path)
            folder.is_clean = True
        return folder

    def _gather(self, folder: _Folder, item_ids: tuple[str, ...]) -> saeviz.FeatureBatch:
        import numpy as np

        by_file: dict[str, list[int]] = {}
        for row, item_id in enumerate(item_ids):
            by_file.setdefault(folder.files[item_id], []).append(row)
        parts = [self._load_file(folder, name, [item_ids[row] for row in rows]) for name, rows in by_file.items()]
        order = [row for rows in by_file.values() for row in rows]
        return saeviz.FeatureBatch(folder.space, item_ids, folder.space.stack(parts)[np.argsort(order)])

    def _load_file(self, folder: _Folder, name: str, item_ids: Sequence[str]) -> CSR:
        path = folder.path / name
        try:
            data = read_regular(path)
            if name in folder.stamps:
                folder.stamps[name].check(data)
            content = json.loads(data)
            rows = [content[item_id] for item_id in item_ids] if name in folder.batches else [content]
            return to_matrix(rows, folder.space.n_features)
        except UNREADABLE as error:
            raise _damaged(path, error) from error


def feature_folders(root: Path) -> list[Path]:
    """The folders that have features: those with an index, and those that other programs made for the usual tokens."""
    return [
        path
        for path in space_folders(root)
        if any(_is_index_of(root, path, index) for index in (path / ITEMS, *FILES.indexes(path).values()))
        or re.fullmatch(r"layer_[0-9]+/(cls|spatial|patch-mean)", path.relative_to(root).as_posix())
    ]


def _is_index_of(root: Path, folder: Path, index: Path) -> bool:
    """Whether it is there; the index of a folder further down may be that of another store, as its header says."""
    if folder.parent.parent == root:
        return index.is_file()
    space = space_in_header(index)
    return space is not None and space_folder(root, space, FOLDERS) == folder


def remove_features(root: Path, path: Path) -> None:
    """Remove every feature file of a space's folder, then its index, then what is empty."""
    is_named = path.parent.parent != root
    with explain_disk_errors(path, "emptied"):
        for file in path.rglob("*.json"):
            file.unlink(missing_ok=True)
        (path / ITEMS).unlink(missing_ok=True)
        remove_temporaries(path)
        for folder in (
            *sorted((entry for entry in path.rglob("*") if entry.is_dir()), reverse=True),
            path,
            path.parent,
            *([path.parent.parent] if is_named else []),
        ):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _items_of_batch(path: Path) -> list[str] | None:
    """The items of a batch file, or None for a file that has the features of an item called `batch_...`."""
    try:
        content = read_json(path)
        if isinstance(content, dict) and not any(isinstance(value, (int, float)) for value in content.values()):
            return list(content)
    except UNREADABLE as error:
        raise _damaged(path, error) from error
    return None


def _damaged(path: Path, error: Exception) -> saeviz.DataError:
    return saeviz.DataError(f"{path} cannot be read: {error}; remove it and run again to extract its items")


def _in_order(path: Path) -> tuple[bool, int, str]:
    """Batches first, by number."""
    number = re.fullmatch(r"batch_(\d+)", path.stem, re.ASCII)
    return not path.name.startswith("batch_"), int(number[1]) if number else 0, path.as_posix()


def _index_lines(folder: _Folder) -> Iterator[dict[str, Any]]:
    space = folder.space
    yield record_of(space)
    if folder.files:
        yield {"items": folder.files}
    if folder.batches:
        yield {"batches": sorted(folder.batches)}


def _read_index(path: Path) -> _Folder:
    index = path / ITEMS
    try:
        header, *lines = map(parse_line, read_lines(index))
        folder = _Folder(path, space_of(header))
        for line in lines:
            folder.files.update(line.get("items", {}))
            folder.batches.update(line.get("batches", ()))
            for name, stamp in line.get("files", {}).items():
                folder.stamps.pop(name, None)
                if stamp is not None:
                    folder.stamps[name] = Stamp(*stamp)
        for name in folder.files.values():
            if not name.endswith(".json") or "\\" in name or ":" in name or not _stays_inside(PurePosixPath(name)):
                raise ValueError(f"{name!r} is not a file of this folder")
    except _DAMAGED as error:
        raise saeviz.DataError(f"{index} is damaged ({error}); remove {path} and run again") from error
    folder.is_indexed = True
    return folder


def _stays_inside(name: PurePosixPath) -> bool:
    return not name.is_absolute() and ".." not in name.parts
