"""The model's own activations, which the SAEs encode: computed once and stored in the run directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import saeviz
from saeviz.toolkit.files import atomic_path
from saeviz.toolkit.npz import read_npz

if TYPE_CHECKING:
    from saeviz.typing import Float32Array

_BATCH = 256


def raw_activations(
    item_ids: Sequence[str], space: saeviz.FeatureSpace, context: saeviz.Context
) -> Float32Array | None:
    """`[n, d_in]`, a row of NaN for an image that cannot be read; None where the run's extractor does not show them."""
    try:
        extractor, images = context.peer("extractor"), context.peer("images")
    except saeviz.ConfigError:
        return None
    if not isinstance(extractor, saeviz.HasActivations):
        return None
    items = [item for item_id in sorted(item_ids) if (item := images.get_image(item_id)) is not None]
    key = _key(extractor, items, context)
    found = _read(_place(space, context), key)
    if found is None:
        found = _compute(extractor, items, space, key, context)
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


def _read(path: Path, key: str) -> Float32Array | None:
    """What is stored under this key; None if the file has another key or is damaged."""
    try:
        kept = read_npz(path, "key", "activations")
        return np.asarray(kept["activations"], np.float32) if str(kept["key"]) == key else None
    except (OSError, ValueError):
        return None


def _place(space: saeviz.FeatureSpace, context: saeviz.Context) -> Path:
    """Patches are pooled before the SAE here, whatever is after it."""
    tokens = "cls" if space.tokens == "cls" else "patch"
    return context.workdir / "prediction" / f"{replace(space, tokens=tokens)}.npz"


def _compute(
    extractor: saeviz.HasActivations,
    items: Sequence[saeviz.ImageItem],
    space: saeviz.FeatureSpace,
    key: str,
    context: saeviz.Context,
) -> Float32Array:
    """Those of `space`, and what the same passes of the model give of the other spaces; all of it is kept."""
    spaces = _to_make(extractor, space, key, context)
    waiting = iter(context.progress(items, len(items), f"activations of {', '.join(map(str, spaces))}"))
    batches = iter(lambda: list(islice(waiting, _BATCH)), [])
    parts = [
        extractor.activations_of(batch, spaces)
        if isinstance(extractor, saeviz.HasManyActivations)
        else [extractor.activations(batch, space)]
        for batch in batches
    ]
    for number, one in reversed(list(enumerate(spaces))):
        found = np.concatenate([np.asarray(part[number]) for part in parts]) if parts else np.zeros((0, 1), np.float32)
        with atomic_path(_place(one, context)) as temporary, temporary.open("wb") as file:
            np.savez(file, key=np.array(key), activations=found)
    return found


def _to_make(
    extractor: Any, space: saeviz.FeatureSpace, key: str, context: saeviz.Context
) -> list[saeviz.FeatureSpace]:
    """`space` first, and with it those that are not kept yet, where the extractor gives several at once."""
    spaces = {_place(space, context): space}
    if isinstance(extractor, saeviz.HasManyActivations):
        for other in context.peer("extractor").spaces:
            place = _place(other, context)
            if place not in spaces and _read(place, key) is None:
                spaces[place] = other
    return list(spaces.values())
