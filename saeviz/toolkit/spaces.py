"""Where a store keeps the features of a space: a folder, or columns of a database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saeviz.formats.files import whole_lines
from saeviz.formats.lines import DAMAGED, parse_line
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureSpace, layer_of
from saeviz.values.keys import record_of, space_of

__all__ = [
    "is_space_folder",
    "place_of",
    "record_of",
    "space_at",
    "space_folder",
    "space_folders",
    "space_in_header",
    "space_of",
    "space_of_folder",
]

_FOLDER = re.compile(
    r"(?:(?P<sae>[a-z][a-z0-9-]*)/)?layer_(?P<layer>[0-9]+|[a-z][a-z0-9-]*)/(?P<tokens>[a-z][a-z0-9-]*)"
)
_IN_TEXT = -1
"""Of a layer: the name of the space is all in the column of the tokens."""


def space_folder(root: Path, space: FeatureSpace, names: Mapping[str, str]) -> Path:
    """`layer_11/cls`, or `text/layer_11/eot` for a space with a name; `names` has kinds of tokens called otherwise."""
    folder = root / space.sae if space.sae else root
    return folder / f"layer_{space.layer}" / names.get(space.tokens, space.tokens)


def space_folders(root: Path) -> list[Path]:
    """The folders that `space_folder` may have given, sorted."""
    found = {path for pattern in ("layer_*/*", "*/layer_*/*") for path in root.glob(pattern)}
    return sorted(path for path in found if is_space_folder(root, path) and path.is_dir())


def is_space_folder(root: Path, folder: Path) -> bool:
    """Whether `space_folder` may have given a folder."""
    return folder.is_relative_to(root) and _FOLDER.fullmatch(folder.relative_to(root).as_posix()) is not None


def space_of_folder(root: Path, folder: Path, n_features: int, names: Mapping[str, str]) -> FeatureSpace:
    """The space for which `space_folder` gives this folder."""
    match = _FOLDER.fullmatch(folder.relative_to(root).as_posix())
    if match is None:
        raise DataError(f"{folder} is not the folder of a feature space")
    tokens = {name: kind for kind, name in names.items()}.get(match["tokens"], match["tokens"])
    return FeatureSpace(layer_of(match["layer"]), tokens, n_features, match["sae"] or "")


def space_in_header(index: Path) -> FeatureSpace | None:
    """The space that the first line of an index names; None without such a line, or for a damaged one."""
    try:
        return space_of(parse_line(next(whole_lines(index)).decode()))
    except (StopIteration, *DAMAGED):
        return None


def place_of(space: FeatureSpace) -> dict[str, Any]:
    """The columns `layer` (a whole number) and `tokens` of a table of spaces.

    A space with a name or a named stage has layer -1 and its whole name in `tokens`, so tables that were made before
    there were names hold it as they are.
    """
    if space.sae or isinstance(space.layer, str):
        return {"layer": _IN_TEXT, "tokens": str(space)}
    return {"layer": space.layer, "tokens": space.tokens}


def space_at(layer: int, tokens: str, n_features: int) -> FeatureSpace:
    """The space for which `place_of` gives these columns."""
    return FeatureSpace.parse(tokens, n_features) if layer == _IN_TEXT else FeatureSpace(layer, tokens, n_features)
