"""What a worker makes of a shard: one file, which the run takes in and removes.

A file is whole or not there (`formats/folders.py`), and holds the same bytes however often it is written. Its arrays
have checksums.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.folders import Folder
from saeviz.formats.npz import read_npz
from saeviz.formats.shard_facts import ShardFacts
from saeviz.values.errors import DataError, RunDirError
from saeviz.values.features import FeatureBatch
from saeviz.values.shards import Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import Float32Array

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

    def only(self, item_ids: Collection[str]) -> Made:
        """The same of these images: the file may be of a larger shard, with images that the run no longer has."""
        wanted = frozenset(item_ids)
        rows = [row for row, item_id in enumerate(self.item_ids) if item_id in wanted]
        return Made(
            (some for batch in self.features if len(some := _only(batch, wanted))),
            [self.item_ids[row] for row in rows],
            None if self.vectors is None else self.vectors[rows],
            [failure for failure in self.failures if failure[0] in wanted],
            self.provenance,
        )


def _only(batch: FeatureBatch, wanted: Collection[str]) -> FeatureBatch:
    import numpy as np

    rows = [row for row, item_id in enumerate(batch.item_ids) if item_id in wanted]
    if len(rows) == len(batch):
        return batch
    numbers = {name: np.asarray(values)[rows] for name, values in batch.of_images.items()}
    return FeatureBatch(batch.space, tuple(batch.item_ids[row] for row in rows), batch.matrix[rows], numbers)


class MadeFiles:
    """The folder with what was made of the shards of a stage. Several processes may write at once.

    `digest` is that of the stage: files with another one are of no use.
    """

    def __init__(self, folder: Folder, digest: str) -> None:
        self.folder = folder
        self.digest = digest

    def name(self, shard: Shard) -> str:
        """The name of the file of a shard."""
        return f"{shard.number:07d}-{shard.key}.npz"

    def find(self, shard: Shard) -> str | None:
        """The name of a file with all images of a shard, None if there is none or it is damaged.

        It may be that of a larger shard, of which a run has taken in some images before it was killed.
        """
        wanted = {*zip(shard.item_ids, shard.fingerprints, strict=True)}
        for name in self._candidates(shard):
            with suppress(FileNotFoundError, _DamagedError):
                facts = self._facts(name, self.folder.source(name))
                if facts.digest == self.digest and wanted.issubset(facts.shard):
                    return name
        return None

    def write(self, shard: Shard, made: Made) -> None:
        """Write what was made of a shard."""
        import numpy as np

        arrays: dict[str, NDArray[Any]] = {}
        spaces = []
        for number, batch in enumerate(made.features):
            spaces.append((batch.space, batch.item_ids, list(batch.of_images)))
            arrays[f"indptr{number}"] = batch.matrix.indptr
            arrays[f"indices{number}"] = batch.matrix.indices
            arrays[f"data{number}"] = batch.matrix.data
            for place, values in enumerate(batch.of_images.values()):
                arrays[f"numbers{number}.{place}"] = np.asarray(values, np.float64)
        if made.vectors is not None:
            arrays["vectors"] = np.asarray(made.vectors, np.float32)
        images = list(zip(shard.item_ids, shard.fingerprints, strict=True))
        facts = ShardFacts(self.digest, images, spaces, made.item_ids, made.failures, made.provenance)
        arrays["about"] = np.frombuffer(facts.as_json(), np.uint8)
        with self.folder.writing(self.name(shard)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # keywords are arrays

    def read(self, name: str) -> Made:
        """What was made of a shard; features are read one space at a time.

        Raises `RunDirError` if the file is damaged, and removes it.
        """
        with self._removed_if_damaged(name):
            with self._explained(name):
                source = self.folder.source(name)
            facts = self._facts(name, source)
            vectors = self._vectors(name, source, len(facts.item_ids)) if facts.item_ids else None
        features = self._features(name, source, facts)
        return Made(features, facts.item_ids, vectors, facts.failures, facts.provenance)

    def taken_in(self, name: str) -> None:
        """Remove a file whose content the run has."""
        self.folder.discard([name])

    def all_taken_in(self) -> None:
        """Remove all files, which the run needs no longer."""
        self.folder.discard_all()

    def own_taken_in(self) -> None:
        """Remove the files that have this digest, whose content the run has."""
        self.folder.discard([name for name in self._names() if self._is_own(name)])

    def clear(self) -> None:
        """Remove everything, to have it made again."""
        self.folder.clear()

    def __bool__(self) -> bool:
        """Whether there is the file of any shard."""
        return bool(self._names())

    def _names(self, prefix: str = "") -> list[str]:
        return [name for name in self.folder.names(prefix) if re.match(r"[0-9].*\.npz", name)]

    def _is_own(self, name: str) -> bool:
        with suppress(FileNotFoundError, _DamagedError):
            return self._facts(name, self.folder.source(name)).digest == self.digest
        return False

    def _candidates(self, shard: Shard) -> Iterator[str]:
        """Files that may be of a shard: only if that of its own name is not, the folder is listed."""
        own = self.name(shard)
        yield own
        yield from (name for name in self._names(f"{shard.number:07d}-") if name != own)

    def _facts(self, name: str, source: Path | bytes) -> ShardFacts:
        with self._explained(name):
            return ShardFacts.parse(read_npz(source, "about")["about"].tobytes())

    def _vectors(self, name: str, source: Path | bytes, n: int) -> Float32Array:
        with self._explained(name):
            vectors: Float32Array = read_npz(source, "vectors")["vectors"]
            if vectors.ndim != 2 or len(vectors) != n or vectors.dtype.kind != "f":
                raise ValueError(f"it has {vectors.dtype}{list(vectors.shape)} as the embeddings of {n} images")
            return vectors

    def _features(self, name: str, source: Path | bytes, facts: ShardFacts) -> Iterator[FeatureBatch]:
        from scipy.sparse import csr_array

        for number, (space, item_ids, names) in enumerate(facts.spaces):
            keys = [f"{part}{number}" for part in ("data", "indices", "indptr")]
            columns = [f"numbers{number}.{place}" for place in range(len(names))]
            with self._removed_if_damaged(name), self._explained(name):
                arrays = read_npz(source, *keys, *columns)
                matrix = csr_array(tuple(arrays[key] for key in keys), shape=(len(item_ids), space.n_features))
                of_images = dict(zip(names, (arrays[column] for column in columns), strict=True))
                batch = FeatureBatch(space, tuple(item_ids), matrix, of_images)
            yield batch

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise _DamagedError(f"{self.folder}/{name} cannot be read: {error}") from error

    @contextmanager
    def _removed_if_damaged(self, name: str) -> Iterator[None]:
        try:
            yield
        except _DamagedError as error:
            if isinstance(error.__cause__, OSError):  # of the disk, which may pass
                raise RunDirError(f"{error}; run again, or remove it and have it made again") from error
            self.folder.remove([name])
            raise RunDirError(f"{error}; it is removed: run the same command again") from error


class _DamagedError(RunDirError):
    """A file that cannot be read, though the disk or service can."""
