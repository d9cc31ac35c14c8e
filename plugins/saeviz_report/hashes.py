"""SHA-256 of every image and every file of a model that a run used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import file_digest
from io import SEEK_END, BufferedReader, BytesIO
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.files import open_regular
from saeviz_report.text import plain

if TYPE_CHECKING:
    import pandas as pd

    from saeviz import ImageItem


_EMBEDDINGS: Mapping[str, str] = {"embeddings": "embed", "second_embeddings": "embed-second"}
"""The stage that made the embeddings of each table."""


def file_table(run: saeviz.Run, context: saeviz.Context) -> pd.DataFrame:
    """A row per file: `kind`, `name`, `bytes`, `sha256`, and in `note` why there is no hash.

    Files are read in pieces, one at a time. Images have their ids as names, files of models their paths.
    """
    import pandas as pd

    rows = [_image(item) for item in context.progress(run.items, len(run.items), "hash images")]
    columns = ["kind", "name", "bytes", "sha256", "note"]
    return pd.DataFrame([*rows, *_models(run)], columns=columns).astype({"bytes": "Int64"})


def _image(item: ImageItem) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "image", "name": item.item_id}
    try:
        file = item.open_file()
        if file is None:
            return {**row, "note": f"drawn by a function, version {item.version!r}" if item.version else "no file"}
        with file:
            return row | _hashed(file)
    except (OSError, ValueError, saeviz.ImageError) as error:
        return {**row, "note": f"cannot be read: {error}"}


def _hashed(file: BufferedReader | BytesIO) -> dict[str, Any]:
    digest = file_digest(file, "sha256").hexdigest()
    return {"bytes": file.seek(0, SEEK_END), "sha256": digest, "note": ""}


def _models(run: saeviz.Run) -> Iterator[dict[str, Any]]:
    yield from _weights(run, "extractor", run.manifest["stages"].get("extract", {}))
    for table, stage in _EMBEDDINGS.items():
        record = run.manifest["stages"].get(stage, {})
        if record.get("counts", {}).get("embedded"):
            yield from _weights(run, table, record)


def _weights(run: saeviz.Run, table: str, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    try:
        paths = run.model_files(table)
    except saeviz.SaevizError as error:
        made_by = f"; it was {plain(record['provenance'])}" if record.get("provenance") else ""
        yield {"kind": "model", "name": table, "note": f"the files of this model are not known: {error}{made_by}"}
        return
    for path in dict.fromkeys(paths):
        row: dict[str, Any] = {"kind": "model", "name": str(path)}
        try:
            with open_regular(path) as file:
                yield row | _hashed(file)
        except (OSError, ValueError) as error:
            yield {**row, "note": f"cannot be read: {error}"}
