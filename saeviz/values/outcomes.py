"""What a check found and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Figure(NamedTuple):
    """Something measured, beside what is published about it (None = nothing); NaN = cannot be measured here."""

    name: str
    measured: float
    published: float | None = None


@dataclass(frozen=True)
class Health:
    """How well a part of a component does on a few images: a layer's SAE, for instance.

    `warnings` are sentences about figures that are far off; without any it is what it should be.
    """

    subject: str
    figures: tuple[Figure, ...]
    warnings: tuple[str, ...] = ()


class Failure(NamedTuple):
    """Something that was left out: a line of `failures.jsonl`. `subject` is an item id or a feature."""

    stage: str
    subject: str
    error: str
