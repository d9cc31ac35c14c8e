"""What a worker makes of a shard: one file, which the run takes in and removes.

A file is written under another name and renamed, so it is whole or not there, and holds the same bytes however often it
is written. Its arrays have checksums.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
_DAMAGED: tuple[type[Exception], ...] = (*UNREADABLE, DataError)


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
    """The folder with what was made of the shards of a stage. Several processes may write at once.

    `digest` is that of the stage: files with another one are of no use.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder = folder
        self.digest = digest

    def path(self, shard: Shard) -> Path:
        """The name of the file of a shard."""
        return self.folder / f"{shard.number:07d}-{shard.key}.npz"

    def find(self, shard: Shard) -> Path | None:
        """A file with all images of a shard, None if there is none or it is damaged.

        It may be that of a larger shard, of which a run has taken in some images before it was killed.
        """
        wanted = {*zip(shard.item_ids, shard.fingerprints, strict=True)}
        for path in (self.path(shard), *sorted(self.folder.glob(f"{shard.number:07d}-*.npz"))):
            with suppress(RunDirError):
                about = _about(path)
                if about["digest"] == self.digest and wanted <= {(item, mark) for item, mark in about["shard"]}:
                    return path
        return None

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
            "digest": self.digest,
            "shard": list(zip(shard.item_ids, shard.fingerprints, strict=True)),
            "spaces": spaces,
            "item_ids": made.item_ids,
            "failures": made.failures,
            "provenance": made.provenance,
        }
        arrays["about"] = np.frombuffer(json.dumps(plain(about), sort_keys=True).encode(), np.uint8)
        with atomic_path(self.path(shard)) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # keywords are arrays

    def read(self, path: Path) -> Made:
        """What was made of a shard; features are read one space at a time. Raises `RunDirError` if it is damaged."""
        about = _about(path)
        with _explained(path):
            return Made(
                _features(path, about["spaces"]),
                about["item_ids"],
                read_npz(path, "vectors")["vectors"] if about["item_ids"] else None,
                [(subject, error) for subject, error in about["failures"]],
                about["provenance"],
            )

    def remove(self, path: Path) -> None:
        """Remove a file."""
        with explain_disk_errors(path, "removed"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove everything."""
        rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # shards of other stages are there, or it is not there
            self.folder.parent.rmdir()

    def __bool__(self) -> bool:
        """Whether there is the file of any shard."""
        return next(self.folder.glob("[0-9]*.npz"), None) is not None


def _about(path: Path) -> dict[str, Any]:
    with _explained(path):
        about: dict[str, Any] = json.loads(read_npz(path, "about")["about"].tobytes())
        if about["format"] != FORMAT:
            raise ValueError("it was written by another version of saeviz")
        return about


def _features(path: Path, spaces: Sequence[Any]) -> Iterator[FeatureBatch]:
    from scipy.sparse import csr_array

    for number, (record, item_ids, names) in enumerate(spaces):
        keys = [f"{part}{number}" for part in ("data", "indices", "indptr")]
        columns = [f"numbers{number}.{place}" for place in range(len(names))]
        with _explained(path):
            space = space_of(record)
            arrays = read_npz(path, *keys, *columns)
            matrix = csr_array(tuple(arrays[key] for key in keys), shape=(len(item_ids), space.n_features))
            of_images = dict(zip(names, (arrays[column] for column in columns), strict=True))
            batch = FeatureBatch(space, tuple(item_ids), matrix, of_images)
        yield batch


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise RunDirError(f"{path} cannot be read ({error}); remove it and have it made again") from error
