"""Features as `{item: {feature: value}}`, an item per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.shards import ShardStore

if TYPE_CHECKING:
    from saeviz.typing import CSR
    from saeviz_json import JsonOptions


class JsonStore(ShardStore):
    """Shards `layer_{L}/{tokens}/batch_{n}.json`; every value is the shortest number that gives its float32 again."""

    suffix = ".json"

    def __init__(self, options: JsonOptions, context: saeviz.Context) -> None:
        super().__init__(options.path or context.workdir, options.shard_rows, context)

    def save_shard(self, path: Path, batch: saeviz.FeatureBatch) -> None:
        """One JSON object, an item per line."""
        features = batch.matrix.indices.astype(str).tolist()
        values = batch.matrix.data.astype(str).tolist()
        lines = []
        for item_id, (start, stop) in zip(batch.item_ids, pairwise(batch.matrix.indptr.tolist()), strict=True):
            pairs = (
                f'"{feature}": {value}' for feature, value in zip(features[start:stop], values[start:stop], strict=True)
            )
            lines.append(f"{json.dumps(item_id, ensure_ascii=False)}: {{{', '.join(pairs)}}}")
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")

    def load_shard(self, path: Path, space: saeviz.FeatureSpace, item_ids: Sequence[str]) -> CSR:
        """The rows of `item_ids`, looked up by name."""
        import numpy as np
        from scipy.sparse import csr_array

        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [content[item_id] for item_id in item_ids]
        indptr = np.cumsum([0, *map(len, rows)])
        indices = np.array([int(feature) for row in rows for feature in row], dtype=np.int32)
        data = np.array([value for row in rows for value in row.values()], dtype=np.float32)
        return csr_array((data, indices, indptr), shape=(len(rows), space.n_features))
