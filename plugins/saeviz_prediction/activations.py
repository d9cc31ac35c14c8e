"""What the SAEs are made from: the model's own activations, computed once and kept beside the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import saeviz
from saeviz.toolkit.files import atomic_path
from saeviz.toolkit.npz import read_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 256


def raw_activations(
    item_ids: Sequence[str], space: saeviz.FeatureSpace, context: saeviz.Context
) -> NDArray[np.float32] | None:
    """`[n, d_in]`, a row of NaN for an image that cannot be read; None where the run's extractor does not show them."""
    try:
        extractor, images = context.peer("extractor"), context.peer("images")
    except saeviz.ConfigError:
        return None
    if not isinstance(extractor, saeviz.HasActivations):
        return None
    items = [item for item_id in sorted(item_ids) if (item := images.get_image(item_id)) is not None]
    tokens = "cls" if space.tokens == "cls" else "patch"  # patches are pooled before the SAE, whatever is after it
    path = context.workdir / "prediction" / f"layer{space.layer}.{tokens}.npz"
    key = _key(extractor, items, context)
    found = _read(path, key)
    if found is None:
        found = _compute(extractor, items, space, context)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, key=np.array(key), activations=found)
    rows = np.full((len(item_ids), found.shape[1]), np.nan, np.float32)
    row_of = {item.item_id: row for row, item in enumerate(items)}
    for row, item_id in enumerate(item_ids):
        if item_id in row_of:
            rows[row] = found[row_of[item_id]]
    return rows


def _key(extractor: Any, items: Sequence[saeviz.ImageItem], context: saeviz.Context) -> str:
    """Changes with the extractor, its options, the precision, and the pictures."""
    who = [type(extractor).__module__, type(extractor).__qualname__, repr(getattr(extractor, "options", None))]
    pictures = [[item.item_id, item.fingerprint] for item in items]
    return sha256(json.dumps([who, context.precision, pictures]).encode()).hexdigest()


def _read(path: Path, key: str) -> NDArray[np.float32] | None:
    """What was kept under this key; nothing where the file is another's or damaged."""
    try:
        kept = read_npz(path, "key", "activations")
        return np.asarray(kept["activations"], np.float32) if str(kept["key"]) == key else None
    except (OSError, ValueError):
        return None


def _compute(
    extractor: saeviz.HasActivations,
    items: Sequence[saeviz.ImageItem],
    space: saeviz.FeatureSpace,
    context: saeviz.Context,
) -> NDArray[np.float32]:
    waiting = iter(context.progress(items, len(items), f"activations of {space}"))
    batches = iter(lambda: list(islice(waiting, _BATCH)), [])
    parts = [np.asarray(extractor.activations(batch, space)) for batch in batches]
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
