"""Features as SciPy CSR matrices, one file per shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.shards import ShardStore

if TYPE_CHECKING:
    from saeviz.typing import CSR
    from saeviz_npz import NpzOptions


class NpzStore(ShardStore):
    """Shards `layer_{L}/{tokens}/batch_{n}.npz`, float32 kept exactly.

    `scipy.sparse.load_npz` reads a shard as a CSR array; the line of `index.jsonl` with its number names the rows.
    """

    suffix = ".npz"

    def __init__(self, options: NpzOptions, context: saeviz.Context) -> None:
        super().__init__(options.path or context.workdir, options.shard_rows, context)

    def save_shard(self, path: Path, batch: saeviz.FeatureBatch) -> None:
        """Uncompressed: reading is several times faster, and noise hardly gets smaller."""
        from scipy.sparse import save_npz

        with path.open("wb") as file:
            save_npz(file, batch.matrix, compressed=False)

    def load_shard(self, path: Path, space: saeviz.FeatureSpace, item_ids: Sequence[str]) -> CSR:  # noqa: ARG002
        """The matrix as it was saved."""
        from scipy.sparse import load_npz

        return load_npz(path)
