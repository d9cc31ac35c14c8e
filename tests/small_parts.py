"""A plugin for runs whose parts have few images: scorers, one that may end its process, and the sizes of parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import saeviz
from saeviz.pipeline.stages import block_work, score_work
from saeviz.values import streams

PLUGIN = "module:tests.small_parts"


def make_small() -> None:
    """Parts of 8 images, two of which are a shard, and small blocks. In processes that load this as a plugin."""
    streams.PART_SIZE = score_work.PART_SIZE = 8
    score_work.TOGETHER = 2
    block_work.VALUES = 300


class FiringOptions(saeviz.Options):
    deaths: Path | None = None
    """A folder: the process that makes the third state first ends, if the folder is there, which it removes."""


def is_broken(method: str) -> bool:
    """Whether a method is to give something wrong, in this process and in workers."""
    return os.environ.get("SMALL_PARTS_BREAK") == method


class Firing:
    """How often features fire, from parts."""

    name = "firing"

    def __init__(self, options: FiringOptions, context: saeviz.Context) -> None:
        self.options = options

    def score(self, data: saeviz.ScoreInput) -> Iterator[saeviz.ScoreColumn]:
        scores = self.in_parts(data)
        return scores.finish(saeviz.merged_parts(scores, data))

    def in_parts(self, data: saeviz.ScoreInput) -> Any:
        return FiringInParts(self.options, data)


class FiringInParts:
    def __init__(self, options: FiringOptions, data: saeviz.ScoreInput) -> None:
        self.options, self.data = options, data
        self.maximum = data.features.statistics.maximum

    def partial(self, part: saeviz.ScoreInput) -> Any:
        if self.options.deaths and part.rows.start == 16 and self.options.deaths.exists():
            self.options.deaths.rmdir()
            os._exit(7)
        if is_broken("text"):
            return {"n": ["many"]}
        if is_broken("partial"):
            return None
        if is_broken("images"):
            return {"n": part.matrix().sum(axis=1)}
        return {"n": (part.matrix().toarray() > self.maximum / 2).sum(axis=0)}

    def merge(self, earlier: dict[str, Any], later: dict[str, Any]) -> Any:
        return None if is_broken("merge") else {"n": earlier["n"] + later["n"]}

    def finish(self, state: dict[str, Any]) -> Any:
        return (
            None if is_broken("finish") else [saeviz.ScoreColumn("firing", self.data.space, state["n"].astype(float))]
        )


class Likeness(Firing):
    """How much images on which features fire have of the first number of embeddings and of a rating, from parts."""

    def in_parts(self, data: saeviz.ScoreInput) -> Any:
        return LikenessInParts(self.options, data)


class LikenessInParts(FiringInParts):
    def partial(self, part: saeviz.ScoreInput) -> dict[str, Any]:
        numbers = part.embeddings[part.rows, 0] + part.ratings["warmth"][part.rows]
        return {"n": part.matrix().T @ np.nan_to_num(numbers)}

    def finish(self, state: dict[str, Any]) -> Iterator[saeviz.ScoreColumn]:
        yield saeviz.ScoreColumn("likeness", self.data.space, state["n"])


class Coverage:
    """A scorer that sees the stream of features, and gives numbers of images that it does not declare."""

    def __init__(self, options: saeviz.Options, context: saeviz.Context) -> None:
        self.numbers = np.zeros(0)

    def score(self, data: saeviz.ScoreInput) -> Iterator[saeviz.ScoreColumn]:
        found = [matrix.toarray() for _, matrix in data.chunks()]
        self.numbers = np.concatenate(found).sum(axis=1)
        yield saeviz.ScoreColumn("coverage", data.space, (np.concatenate(found) > 0).mean(axis=0))

    def combine(self, columns: Any) -> Iterator[saeviz.ImageColumn]:
        yield saeviz.ImageColumn("strength", self.numbers)


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    make_small()
    yield saeviz.ScorerSpec(
        name="firing", summary="how often", options=FiringOptions, factory=Firing, uses_embeddings=False
    )
    yield saeviz.ScorerSpec(name="likeness", summary="how alike", options=FiringOptions, factory=Likeness)
    yield saeviz.ScorerSpec(name="coverage", summary="a share", options=saeviz.Options, factory=Coverage)
