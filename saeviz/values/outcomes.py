"""Results of checks, and failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Figure(NamedTuple):
    """A measured figure (NaN = not measurable on these images) and the published one (None = not published)."""

    name: str
    measured: float
    published: float | None = None


@dataclass(frozen=True)
class Health:
    """The health of a part of a component, such as the SAE of a layer, measured on a few images.

    `warnings` are sentences about figures that are far from what they should be; empty if all is well.
    """

    subject: str
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...] = ()


class Failure(NamedTuple):
    """An item or feature that was left out: a line of `failures.jsonl`. `subject` is an item id or a feature."""

    stage: str
    subject: str
    error: str
