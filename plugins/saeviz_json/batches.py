"""Files with some items each: `{item: {feature: value}}`, an item per line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.shards import ShardStore
from saeviz_json.names import FILES, FOLDERS
from saeviz_json.rows import read_json, row_texts, to_matrix

if TYPE_CHECKING:
    from saeviz.typing import CSR


class BatchFiles(ShardStore):
    """Shards `layer_{L}/{cls|spatial|patch-mean}/batch_{n}.json`."""

    suffix = FILES.suffix
    index_name = FILES.index
    folder_names = FOLDERS

    def save_shard(self, path: Path, batch: saeviz.FeatureBatch) -> None:
        """One JSON object, an item per line."""
        rows = zip(batch.item_ids, row_texts(batch), strict=True)
        lines = (f"{json.dumps(item_id, ensure_ascii=False)}: {row}" for item_id, row in rows)
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")

    def load_shard(self, path: Path, space: saeviz.FeatureSpace, item_ids: Sequence[str]) -> CSR:
        """The rows of `item_ids`, looked up by name."""
        content = read_json(path)
        return to_matrix([content[item_id] for item_id in item_ids], space.n_features)
