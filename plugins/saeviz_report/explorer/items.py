"""The images of the run as columns: ids, ratings, groups, text about them, numbers of each, small pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import saeviz
from saeviz.toolkit.packed import packed
from saeviz.typing import Float32Array, FloatArray
from saeviz_report.explorer.encoding import numbers, texts
from saeviz_report.thumbnails import Thumbnail

NEAREST = 12
MOST_FOR_NEAREST = 20_000
"""Images; of more, all pairs take too long."""
TOGETHER = 1_000
"""Rows of similarities in memory at once."""


def items_of(run: saeviz.Run, thumbnails: Mapping[str, Thumbnail] | None, ratings: Collection[str]) -> dict[str, Any]:
    """All that is known of the images, in the order of `run.items`, but of their ratings only these.

    Where `thumbnails` are None a host has pictures and similar images.
    """
    ids = [item.item_id for item in run.items]
    table = run.images_table.reindex(ids)
    groups = [item.group or "" for item in run.items]
    shown: list[Sequence[Any] | None] = [(thumbnails or {}).get(item_id) for item_id in ids]
    nearest = None if thumbnails is None else _nearest_of(run)
    return {
        "ids": ids,
        "thumbnails": shown,
        # Pairs: as a script, an object in braces has no place for a rating that is called __proto__.
        "ratings": [
            (name, numbers(run.ratings_table[name].to_numpy())) for name in run.ratings_table if name in ratings
        ],
        "spread": [(name, {"sd": numbers(sd), "n": numbers(n)}) for name, sd, n in spreads_of(run) if name in ratings],
        "numbers": [(name, numbers(table[name].to_numpy())) for name in table],
        "metadata": [(name, texts(run.metadata[name].tolist())) for name in run.metadata],
        "groups": texts(groups) if any(groups) else None,
        "nearest": packed(nearest) if nearest is not None else None,
        "n_nearest": 0 if nearest is None else nearest.shape[1],
    }


def spreads_of(run: saeviz.Run) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Each rating whose raters are known, with their standard deviation on each image and how many they are.

    From the individual ratings, or from the numbers of images that a scorer gives.
    """
    ids = [item.item_id for item in run.items]
    single = run.individual_ratings
    given = single.groupby("rating", sort=False)
    for name, rows in given:
        of_image = rows.groupby("item_id")["value"].agg(["std", "count"]).reindex(ids)
        yield str(name), of_image["std"].to_numpy(float), of_image["count"].to_numpy(float)
    table = run.images_table.reindex(ids)
    for name in (name for name in run.ratings_table if name not in given.groups):
        if f"sd.{name}" in table and f"raters.{name}" in table:
            yield name, table[f"sd.{name}"].to_numpy(), table[f"raters.{name}"].to_numpy()


def _nearest_of(run: saeviz.Run) -> npt.NDArray[np.uint32] | None:
    if not 2 <= len(run.items) <= MOST_FOR_NEAREST:
        return None
    try:
        return nearest(run.embeddings)
    except saeviz.RunDirError:  # a run without embeddings
        return None


def nearest(embeddings: Float32Array) -> npt.NDArray[np.uint32]:
    """The images most like each by cosine, most alike first: uint32 `[n, k]`; one without embedding is near none.

    Where fewer than k are near an image, its own number fills the row.
    """
    n = len(embeddings)
    k = min(NEAREST, n - 1)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = np.nan_to_num(embeddings / np.where(lengths == 0, 1, lengths))
    found = np.empty((n, k), dtype=np.uint32)
    has: npt.NDArray[np.bool_] = np.logical_not(np.isnan(embeddings).any(axis=1))
    for start in range(0, n, TOGETHER):
        alike = units[start : start + TOGETHER] @ units.T
        alike[:, ~has] = -math.inf
        own = np.arange(start, start + len(alike))
        alike[own - start, own] = -math.inf
        alike[~has[own]] = -math.inf
        best = np.argsort(-alike, axis=1, kind="stable")[:, :k]
        missing = np.isneginf(np.take_along_axis(alike, best, axis=1))
        found[own] = np.where(missing, own[:, None], best)
    return found
