"""The embeddings of a run on disk: small files, each written whole, later ones replacing earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saeviz.errors import RunDirError
from saeviz.files import atomic_path, explain_disk_errors, remove_temporaries
from saeviz.npz import read_npz
from saeviz.types import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import Float32Array


class EmbeddingFiles:
    """Embeddings by item id, each with the fingerprint of the picture it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fingerprints(self) -> dict[str, str]:
        """The items that have an embedding."""
        return {item_id: fingerprint for keys, _ in self._parts(with_vectors=False) for item_id, fingerprint in keys}

    def append(self, keys: Sequence[tuple[str, str]], vectors: Float32Array) -> None:
        """Keep `vectors` float32 `[len(keys), dim]` of these items and fingerprints; durable when this returns."""
        import numpy as np

        number = max((int(path.stem) for path in self._files()), default=-1) + 1
        with atomic_path(self.folder / f"{number:06d}.npz") as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                keys=np.frombuffer(json.dumps(keys).encode(), dtype=np.uint8),
                vectors=np.asarray(vectors, dtype=np.float32),
            )

    def read(self, items: Sequence[ImageItem]) -> Float32Array | None:
        """Float32 `[len(items), dim]`, a row of NaN for an item without embedding; None without any."""
        import numpy as np

        row_of = {item.item_id: row for row, item in enumerate(items)}
        found: Float32Array | None = None
        for keys, vectors in self._parts(with_vectors=True):
            if found is None:
                found = np.full((len(items), vectors.shape[1]), np.nan, dtype=np.float32)
            known = [(row_of[item_id], n) for n, (item_id, _) in enumerate(keys) if item_id in row_of]
            if known:
                rows, numbers = zip(*known, strict=True)
                found[list(rows)] = vectors[list(numbers)]
        return found

    def clear(self) -> None:
        """Forget everything."""
        with explain_disk_errors(self.folder):
            for path in self._files():
                path.unlink()
            if self.folder.is_dir():
                remove_temporaries(self.folder)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.npz"))

    def _parts(self, *, with_vectors: bool) -> Iterator[tuple[list[list[str]], Float32Array]]:
        import numpy as np

        for path in self._files():
            try:
                part = read_npz(path, "keys", *(["vectors"] if with_vectors else []))
                keys = json.loads(part["keys"].tobytes())
                yield keys, part["vectors"] if with_vectors else np.empty((0, 0), np.float32)
            except (OSError, ValueError, KeyError) as error:
                raise RunDirError(f"{path} cannot be read ({error}); remove it and run again") from error
