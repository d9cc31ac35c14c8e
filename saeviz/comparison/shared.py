"""What two runs have in common: spaces of the same SAEs, and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saeviz.results.run import Run
from saeviz.values.features import FeatureSpace

_NOT_WHICH = ("engine", "doubts")
"""The entries of a provenance that do not say which model and SAEs it was, see `HasProvenance`."""


def shared_spaces(one: Run, other: Run) -> list[FeatureSpace]:
    """The spaces that both runs have by name and size."""
    return [space for space in one.spaces if space in other.spaces]


def same_saes(one: Run, other: Run) -> bool | None:
    """Whether spaces of the same name are of the same model and SAEs, by what the extractors recorded.

    What only one of them recorded, such as another layer, does not count. None if they recorded nothing; then the
    names of the extractors decide whether it is False.
    """
    first, second = (_extraction(run) for run in (one, other))
    if not _agree(first["use"], second["use"]):
        return False
    if not first["made_by"].keys() & second["made_by"].keys():
        return None
    return _agree(first["made_by"], second["made_by"])


def shared_images(one: Run, other: Run) -> tuple[list[str], int]:
    """The ids of the images that both runs have, in the order of the first, and how many ids name different files.

    Files are compared by size, pictures in memory by a digest, as far as the runs recorded them.
    """
    first, second = one.fingerprints, other.fingerprints
    both = [item_id for item_id in first if item_id in second]
    same = [item_id for item_id in both if _content(first[item_id]) == _content(second[item_id])]
    return same, len(both) - len(same)


def _extraction(run: Run) -> dict[str, dict[str, Any]]:
    """The components that the run extracted with, and what they recorded, by the names of `[[extractors]]`.

    That of `[extractor]` has the name ''.
    """
    config = run.manifest.get("config")
    config = config if isinstance(config, Mapping) else {}
    several = config.get("extractors")
    tables = several if isinstance(several, list) else [config.get("extractor")]
    use = {str(table.get("name", "")): table.get("use") for table in tables if isinstance(table, Mapping)}
    recorded = run.manifest["stages"].get("extract", {}).get("provenance", {})
    parts = recorded if isinstance(several, list) and isinstance(recorded, Mapping) else {"": recorded}
    made_by = {name: _which(part) for name, part in parts.items() if isinstance(part, Mapping)}
    return {"use": use, "made_by": {name: part for name, part in made_by.items() if part}}


def _which(made_by: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in made_by.items() if name not in _NOT_WHICH}


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_agree(value, other[name]) for name, value in one.items() if name in other)
    return bool(one == other)


def _content(fingerprint: str) -> str:
    """Of `size-time` the size, since copying changes times."""
    return fingerprint.partition("-")[0]
