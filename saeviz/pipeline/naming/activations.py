"""The activations of chosen features on the images of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from saeviz.typing import Float32Array


def activations(
    session: Session, features: Sequence[Feature], dataset: Sequence[ImageItem]
) -> Iterator[tuple[Feature, Float32Array]]:
    """Yields each feature with its activations, float32 `[len(dataset)]`, from one pass over the store per space."""
    import numpy as np

    ids = [item.item_id for item in dataset]
    for space in session.dataset.spaces:
        wanted = [one for one in features if one in space]
        if not wanted:
            continue
        values = np.zeros((len(wanted), len(ids)), dtype=np.float32)
        columns, start = [feature.index for feature in wanted], 0
        for batch in session.components.store.read(space, ids):
            values[:, start : start + len(batch)] = batch.matrix[:, columns].toarray().T
            start += len(batch)
        yield from zip(wanted, values, strict=True)
