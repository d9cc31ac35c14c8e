"""The embeddings of a run on disk: small files, each written atomically; later ones override earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.files import atomic_path, explain_disk_errors, remove_temporaries
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.npz import read_npz
from saeviz.values.errors import RunDirError
from saeviz.values.images import ImageItem
from saeviz.values.texts import Places, Texts

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, IntArray


NEXT_STEP = "remove it, and the same `saeviz run` embeds its images again"
_AT_ONCE = 1024
"""Images without an embedding that are written together."""


class EmbeddingFiles:
    """Embeddings by item id, each with the fingerprint of the picture it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._next: int | None = None
        """The number of the next file, once it is known: to look at all of them each time takes ever longer."""

    def keys(self) -> Iterator[list[tuple[str, str]]]:
        """The items that have an embedding in a readable file, with fingerprints, one file after the other."""
        for path in self.files():
            with suppress(RunDirError):
                yield _load(path)[0]

    def remove_damaged(self) -> list[Path]:
        """Remove unreadable files and return their paths; their items no longer have embeddings.

        What a killed run was writing is removed as well.
        """
        if self.folder.is_dir():
            remove_temporaries(self.folder)
        damaged = []
        for path in self.files():
            try:
                _load(path)
            except RunDirError:
                with explain_disk_errors(path, "removed"):
                    path.unlink()
                damaged.append(path)
        return damaged

    def append(self, keys: Sequence[tuple[str, str]], vectors: Float32Array) -> None:
        """Store `vectors`, float32 `[len(keys), dim]`, for items with fingerprints; durable when this returns."""
        import numpy as np

        if self._next is None:
            self._next = max((int(path.stem) for path in self.files()), default=-1) + 1
        with atomic_path(self.folder / f"{self._next:06d}.npz") as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                keys=np.frombuffer(json.dumps(keys).encode(), dtype=np.uint8),
                vectors=np.asarray(vectors, dtype=np.float32),
            )
        self._next += 1

    def read(self, items: Sequence[ImageItem]) -> Float32Array | None:
        """The embeddings, float32 `[len(items), dim]`, with NaN rows for items without one; None if all lack one."""
        import numpy as np

        row_of = {item.item_id: row for row, item in enumerate(items)}
        found: Float32Array | None = None
        for path in self.files():
            keys, vectors = _load(path)
            if found is None:
                found = np.full((len(items), vectors.shape[1]), np.nan, dtype=np.float32)
            _refuse_another_length(path, vectors, found.shape[1])
            known = [(row_of[item_id], n) for n, (item_id, _) in enumerate(keys) if item_id in row_of]
            if known:
                rows, numbers = zip(*known, strict=True)
                found[list(rows)] = vectors[list(numbers)]
        return found

    def gather(self, item_ids: Texts, arrays: MappedArrays, name: str) -> bool:
        """Put the embeddings of these images, as `read` gives them, into an array of this name.

        False if there are none. One file at a time is in memory.
        """
        import numpy as np

        places, is_there, paths = Places(item_ids), np.zeros(len(item_ids), dtype=bool), self.files()
        if not paths:
            return False
        dim = _load(paths[0])[1].shape[1]
        with arrays.rows(name, (len(item_ids), dim), np.dtype(np.float32)) as put:
            for path in paths:
                keys, vectors = _load(path)
                _refuse_another_length(path, vectors, dim)
                rows = places.of(item_id for item_id, _ in keys)
                for some in _neighbours(np.flatnonzero(rows >= 0), rows):
                    put(int(rows[some[0]]), vectors[some])
                is_there[rows[rows >= 0]] = True
            missing = np.flatnonzero(~is_there)
            for some in _neighbours(np.arange(missing.size), missing):
                for part in np.array_split(some, -(-some.size // _AT_ONCE)):
                    put(int(missing[part[0]]), np.full((part.size, dim), np.nan, dtype=np.float32))
        return True

    def clear(self) -> None:
        """Remove everything."""
        with explain_disk_errors(self.folder):
            for path in self.files():
                path.unlink()
            if self.folder.is_dir():
                remove_temporaries(self.folder)

    def files(self) -> list[Path]:
        """The files, oldest first."""
        return sorted(self.folder.glob("[0-9]*.npz"))


def _refuse_another_length(path: Path, vectors: Float32Array, dim: int) -> None:
    if vectors.shape[1] != dim:
        raise RunDirError(f"{path} has vectors of another length than the others; {NEXT_STEP}")


def _neighbours(numbers: IntArray, rows: IntArray) -> list[IntArray]:
    """The numbers in groups whose rows follow one another."""
    import numpy as np

    if not numbers.size:
        return []
    return np.split(numbers, np.flatnonzero(np.diff(rows[numbers]) != 1) + 1)


def _load(path: Path) -> tuple[list[tuple[str, str]], Float32Array]:
    """Items with their fingerprints, and their vectors. Raises `RunDirError` if the file is damaged."""
    import numpy as np

    try:
        part = read_npz(path, "keys", "vectors")
        keys = [(item_id, fingerprint) for item_id, fingerprint in json.loads(part["keys"].tobytes())]
        vectors = np.asarray(part["vectors"], dtype=np.float32)
    except UNREADABLE as error:
        raise RunDirError(f"{path} cannot be read ({error}); {NEXT_STEP}") from error
    if vectors.ndim != 2 or len(vectors) != len(keys):
        raise RunDirError(f"{path} has {len(keys)} items and vectors of shape {vectors.shape}; {NEXT_STEP}")
    return keys, vectors
