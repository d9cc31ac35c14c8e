"""What a worker makes of a shard: one file, which the run takes in and removes.

A file is written under another name and renamed, so it is whole or not there, and holds the same bytes however often it
is written. Its arrays have checksums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.files import atomic_path, explain_disk_errors
from saeviz.formats.npz import read_npz
from saeviz.formats.plain import plain
from saeviz.values.errors import DataError, RunDirError
from saeviz.values.features import FeatureBatch
from saeviz.values.keys import record_of, space_of
from saeviz.values.shards import Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import Float32Array

FORMAT = 1


@dataclass(frozen=True)
class Made:
    """Features or embeddings of the images of a shard.

    `features` has a batch per space; `vectors`, float32 `[len(item_ids), dim]`, are the embeddings of `item_ids`.
    `failures` are the images that were left out, with reasons; `provenance` is as for the manifest.
    """

    features: Iterable[FeatureBatch] = ()
    item_ids: Sequence[str] = ()
    vectors: Float32Array | None = None
    failures: Sequence[tuple[str, str]] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


class MadeFiles:
    """The folder with what was made of the shards of a stage. Several processes may write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, shard: Shard) -> Path:
        """The file of a shard."""
        return self.folder / f"{shard.number:07d}-{shard.key}.npz"

    def has(self, shard: Shard) -> bool:
        """Whether the file of a shard is there and not damaged."""
        if not self.path(shard).exists():
            return False
        try:
            for _ in self.read(shard).features:
                pass
        except (RunDirError, DataError):
            return False
        return True

    def write(self, shard: Shard, made: Made) -> None:
        """Write what was made of a shard."""
        import numpy as np

        arrays: dict[str, NDArray[Any]] = {}
        spaces = []
        for number, batch in enumerate(made.features):
            spaces.append([record_of(batch.space), batch.item_ids, list(batch.of_images)])
            arrays[f"indptr{number}"] = batch.matrix.indptr
            arrays[f"indices{number}"] = batch.matrix.indices
            arrays[f"data{number}"] = batch.matrix.data
            for place, values in enumerate(batch.of_images.values()):
                arrays[f"numbers{number}.{place}"] = np.asarray(values, np.float64)
        if made.vectors is not None:
            arrays["vectors"] = np.asarray(made.vectors, np.float32)
        about = {
            "format": FORMAT,
            "spaces": spaces,
            "item_ids": made.item_ids,
            "failures": made.failures,
            "provenance": made.provenance,
        }
        arrays["about"] = np.frombuffer(json.dumps(plain(about), sort_keys=True).encode(), np.uint8)
        with atomic_path(self.path(shard)) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # keywords are arrays

    def read(self, shard: Shard) -> Made:
        """What was made of a shard; features are read one space at a time. Raises `RunDirError` if it is damaged."""
        return _read(self.path(shard))

    def remove(self, shard: Shard) -> None:
        """Remove the file of a shard."""
        with explain_disk_errors(self.path(shard), "removed"):
            self.path(shard).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything."""
        rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # shards of other stages are there, or it is not there
            self.folder.parent.rmdir()

    def __bool__(self) -> bool:
        """Whether there is the file of any shard."""
        return next(self.folder.glob("[0-9]*.npz"), None) is not None


def _read(path: Path) -> Made:
    try:
        about = json.loads(read_npz(path, "about")["about"].tobytes())
        if about["format"] != FORMAT:
            raise RunDirError(f"{path} was written by a newer saeviz; remove it and run again")
        spaces = about["spaces"]
        return Made(
            _features(path, spaces),
            about["item_ids"],
            read_npz(path, "vectors")["vectors"] if about["item_ids"] else None,
            [(subject, error) for subject, error in about["failures"]],
            about["provenance"],
        )
    except UNREADABLE as error:
        raise RunDirError(f"{path} cannot be read ({error}); remove it and run again") from error


def _features(path: Path, spaces: Sequence[Any]) -> Iterator[FeatureBatch]:
    from scipy.sparse import csr_array

    for number, (record, item_ids, names) in enumerate(spaces):
        space = space_of(record)
        columns = [f"numbers{number}.{place}" for place in range(len(names))]
        keys = [f"{part}{number}" for part in ("data", "indices", "indptr")]
        try:
            arrays = read_npz(path, *keys, *columns)
            matrix = csr_array(tuple(arrays[key] for key in keys), shape=(len(item_ids), space.n_features))
        except UNREADABLE as error:
            raise RunDirError(f"{path} cannot be read ({error}); remove it and run again") from error
        of_images = dict(zip(names, (arrays[column] for column in columns), strict=True))
        yield FeatureBatch(space, tuple(item_ids), matrix, of_images)
