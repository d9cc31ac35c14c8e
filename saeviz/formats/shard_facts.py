"""What the file of a shard says of itself beside its arrays, and whether that can be so."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saeviz.formats.plain import plain
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import record_of, space_of

FORMAT = 1


@dataclass(frozen=True)
class ShardFacts:
    """Of which images a file is, and what it has of them.

    `digest` is that of the stage, `shard` has the images of the shard with their fingerprints. `spaces` has for each
    batch of features its space, its images and the names of the numbers of these; the rest is as in `Made`.
    """

    digest: str
    shard: Sequence[tuple[str, str]]
    spaces: Sequence[tuple[FeatureSpace, Sequence[str], Sequence[str]]]
    item_ids: Sequence[str]
    failures: Sequence[tuple[str, str]]
    provenance: Mapping[str, Any]

    def as_json(self) -> bytes:
        """As it is written: the same for the same facts."""
        spaces = [[record_of(space), *texts] for space, *texts in self.spaces]
        return json.dumps(plain({**vars(self), "format": FORMAT, "spaces": spaces}), sort_keys=True).encode()

    @classmethod
    def parse(cls, data: bytes) -> ShardFacts:
        """Parse what `as_json` gave. Any built-in exception, or `DataError`, means that something else was given."""
        given = json.loads(data)
        if given["format"] != FORMAT:
            raise ValueError("it was written by another version of saeviz")
        shard, failures = _pairs(given["shard"]), _pairs(given["failures"])
        ids = {item_id for item_id, _ in shard}
        spaces = [(space_of(space), _texts(items, ids), _texts(names)) for space, items, names in given["spaces"]]
        provenance = given["provenance"]
        if not all(isinstance(found, dict) for found in (provenance, provenance.get("provenance", {}))):
            raise ValueError("its provenance is no mapping")
        return cls(_text(given["digest"]), shard, spaces, _texts(given["item_ids"], ids), failures, provenance)


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise ValueError("something else is in the place of text")
    return found


def _texts(found: Sequence[object], among: Collection[str] | None = None) -> list[str]:
    texts = [_text(one) for one in found]
    if among is not None and not set(texts) <= set(among):
        raise ValueError("it has images that are not among those of its shard")
    if len(set(texts)) < len(texts):
        raise ValueError("it has something twice")
    return texts


def _pairs(found: Sequence[Any]) -> list[tuple[str, str]]:
    return [(_text(one), _text(other)) for one, other in found]
