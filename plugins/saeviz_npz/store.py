"""Features as SciPy CSR matrices, one file per shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.npz import read_npz
from saeviz.toolkit.objects import Objects
from saeviz.toolkit.shard_objects import ObjectShards
from saeviz.toolkit.shards import ShardStore
from saeviz_npz.packing import pack, unpack

if TYPE_CHECKING:
    from saeviz.typing import CSR
    from saeviz_npz import NpzOptions

INTEGERS = "iu"
KINDS = {"data": "f", "format": "S", "_is_array": "b"}
"""Kinds of the arrays of a shard that are not integers; any other would be converted, if need be to other values."""


class NpzStore(ShardStore):
    """Shards `layer_{L}/{tokens}/batch_{n}.npz`, float32 kept exactly; the line of `index.jsonl` with its number names
    the rows.

    `docs/explanation/storage.md` has the format of a packed shard; one in the encoding `scipy` is read by
    `scipy.sparse.load_npz`. Both may lie side by side.
    """

    suffix = ".npz"

    def __init__(self, options: NpzOptions, context: saeviz.Context) -> None:
        super().__init__(options.path or context.workdir, options.shard_rows, context)
        self.encoding = options.encoding

    def save_shard(self, path: Path, batch: saeviz.FeatureBatch) -> None:
        """Uncompressed, because it will soon be merged with others."""
        from scipy.sparse import save_npz

        with path.open("wb") as file:
            save_npz(file, batch.matrix, compressed=False)

    def save_settled(self, path: Path, batch: saeviz.FeatureBatch) -> None:
        """In the encoding that the options name."""
        import numpy as np

        if self.encoding == "scipy":
            self.save_shard(path, batch)
            return
        with path.open("wb") as file:
            np.savez(file, **pack(batch.matrix))

    def load_shard(self, path: Path, space: saeviz.FeatureSpace, item_ids: Sequence[str]) -> CSR:  # noqa: ARG002
        """The matrix as it was saved, in either encoding."""
        from scipy.sparse import csr_array

        arrays = read_npz(path)
        for name, array in arrays.items():
            if array.dtype.kind not in KINDS.get(name, INTEGERS):
                raise ValueError(f"its array {name!r} has numbers of type {array.dtype}")
        if "packed" in arrays:
            return unpack(arrays)
        if arrays["format"].tolist() != b"csr":
            raise ValueError(f"it holds no CSR matrix but {arrays['format']}")
        values, columns, starts = (arrays[name].copy() for name in ("data", "indices", "indptr"))
        return csr_array((values, columns, starts), shape=tuple(arrays["shape"].tolist()))


class NpzObjects(ObjectShards, NpzStore):
    """The same shards in an object store; see `saeviz.toolkit.shard_objects`."""

    def __init__(self, url: str, options: NpzOptions, context: saeviz.Context) -> None:
        super().__init__(options, context)
        self.keep_in(Objects(url, context))


def open_store(options: NpzOptions, context: saeviz.Context) -> NpzStore:
    """In a folder, or at the address that the options name."""
    return NpzStore(options, context) if options.url is None else NpzObjects(options.url, options, context)
