"""Repositories with several SAEs of a layer: `manifest.jsonl` lists those in `layer_N/RUN/sae.pt`, as saev has them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import log
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, Field, FiniteFloat, field_validator

from saeviz.toolkit.sae.formats.reading import checked
from saeviz.values.errors import DataError
from saeviz.values.features import Layer

NAME = "manifest.jsonl"
BY_L0 = "l0="
"""What stands after the colon of a source that is chosen by its L0: `owner/repository:l0=60`."""

LEAST = 1e-3
"""What an L0 of 0 counts as where L0s are compared."""


class Listed(BaseModel):
    """A line of a manifest."""

    layer: int = Field(ge=0)
    l0: FiniteFloat = Field(ge=0)
    path: str

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in path.split("/") or "\\" in path or "/" not in path:
            raise ValueError("the path of a file in a folder of the repository is needed")
        return path

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return str(PurePosixPath(self.path).parent)


def read_manifest(path: Path) -> list[Listed]:
    """Its lines. Raises `DataError` that names the line that is not one of a manifest."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return [_listed(line, number, path) for number, line in enumerate(lines, start=1) if line.strip()]


def _listed(line: str, number: int, path: Path) -> Listed:
    place = path.with_name(f"{path.name}:{number}")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} cannot be read as JSON: {error}") from error
    return checked(Listed, found, place)


def nearest(listed: Sequence[Listed], layer: Layer | None, wanted: str, source: str) -> Listed:
    """The SAE of a layer whose L0 is nearest to the number `wanted`, as a ratio."""
    try:
        l0 = float(wanted)
    except ValueError:
        l0 = 0.0
    if not 0 < l0 < float("inf"):
        raise DataError(f"{source}: {BY_L0} needs a number above 0, such as {BY_L0}60")
    mine = [one for one in listed if one.layer == layer]
    if not mine:
        raise DataError(f"{source} has no SAE of layer {layer}; {choices(listed, layer)}")
    return min(mine, key=lambda one: (abs(log(max(one.l0, LEAST) / l0)), one.l0, one.path))


def choices(listed: Iterable[Listed], layer: Layer | None) -> str:
    """What there is: the SAEs of a layer with their L0, or the layers that have any."""
    mine = sorted((one.l0, one.folder) for one in listed if one.layer == layer)
    if mine:
        return f"of layer {layer} there are {', '.join(f'{folder} (L0 {l0:g})' for l0, folder in mine)}"
    return f"there are SAEs of the layers {', '.join(map(str, sorted({one.layer for one in listed}))) or 'none'}"
