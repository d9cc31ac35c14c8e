"""`items.parquet`: the images of a run, each with the fingerprint of the picture that its features belong to.

`other_items.parquet` has the same of images that earlier runs listed and the last one did not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.parquet import batches_of, release_memory
from saeviz.values.errors import RunDirError
from saeviz.values.regular import open_regular, reason_of


def read_items(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and fingerprints, some thousand at a time. Raises `RunDirError` if the file is damaged."""
    try:
        open_regular(path).close()  # fails for a pipe instead of blocking
        for batch in batches_of(path, ["item_id", "fingerprint"]):
            ids, fingerprints = batch["item_id"].to_pylist(), batch["fingerprint"].to_pylist()
            if not all(isinstance(text, str) for text in (*ids, *fingerprints)):
                raise ValueError("an id or a fingerprint is not text")
            yield ids, fingerprints
    except UNREADABLE as error:
        raise RunDirError(f"{path} cannot be read ({reason_of(error)}); recreate it with --redo extract") from error
    release_memory()
