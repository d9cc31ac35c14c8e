"""A run in parts that are made one by one, on any machines: which part makes which shards, and which are missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saeviz.formats.folders import Folder
from saeviz.formats.part_records import PartRecord, read_parts
from saeviz.formats.rundir import digest_of_all
from saeviz.pipeline.session import Session
from saeviz.values.errors import ConfigError, DataError
from saeviz.values.shards import Shard

NEEDED = ("run", "images", "extractor", "extractors", "store", "embeddings", "second_embeddings")
"""The tables of a run file that a worker needs; others may have secrets that it does not have."""
OF_PARTS = (*NEEDED, "executor", "scorers")
"""The tables of a run file whose components a part uses."""
HARMLESS = {"dir", "device", "cache", "cache_dir", "offline", "top_images", "judge_images", "rating_images"}
"""Settings of `[run]` on which no shard depends."""
SCORE = "score"
"""The stage whose shards are of features that have been gathered, and depend on scorers."""
MOST_NAMED = 5


@dataclass(frozen=True)
class Part:
    """The part `number` of `n_parts`, from 1: it makes every `n_parts`-th shard."""

    number: int
    n_parts: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Parse a part such as `3/64`. Raises `ConfigError` for other text."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"--part: {text!r} is not a part; the third of 64 is 3/64, and the last one 64/64")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.n_parts}"

    @property
    def name(self) -> str:
        """The name of its files, such as `part-3-of-64`."""
        return f"part-{self.number}-of-{self.n_parts}"

    def has(self, shard: Shard) -> bool:
        """Whether this part makes the shard."""
        return self.distance(shard) == 0

    def distance(self, shard: Shard) -> int:
        """How many parts further the part is that makes the shard; after the last comes the first."""
        return (shard.number - self.number + 1) % self.n_parts


def tables_of(session: Session) -> dict[str, Any]:
    """The tables that a worker needs. It has no labels, so it is told of no judge and of no images for one."""
    found = {name: table for name, table in session.config.as_json().items() if name in NEEDED}
    return {**found, "run": {**found["run"], "rating_images": 0}}


def record_of_part(session: Session, part: Part) -> PartRecord:
    """What a part says of itself, for the run that gathers all of them."""
    items = session.dataset.items
    return PartRecord(
        part.number,
        part.n_parts,
        dict(session.digests),
        len(items),
        digest_of_all(zip(items.ids, items.fingerprints, strict=True)),
        session.components.executor.shard_items,
        {**tables_of(session), "scorers": [config.as_json() for config in session.config.scorers]},
    )


def has_begun(session: Session, stage: str, folder: Folder) -> bool:
    """Whether any part has begun with a stage as this run needs it; its records are in the folder."""
    return any(record.digests.get(stage) == session.digests[stage] for record in read_parts(folder).values())


def refuse_missing(
    session: Session, stage: str, shards: Sequence[Shard], missing: Sequence[Shard], folder: Folder | None = None
) -> None:
    """Raise `DataError` if some of the shards are missing, naming the parts that should have made them.

    Records of parts are in the folder, or else in that of all shards.
    """
    if not missing:
        return
    known = read_parts(folder or session.rundir.shards)
    if not known:
        raise DataError(f"{stage}: no part of this run has been made; begin with the same command and --part 1/N")
    n_parts = next(iter(known.values())).n_parts
    wanted, lacking = (Counter(shard.number % n_parts + 1 for shard in some) for some in (shards, missing))
    now = record_of_part(session, Part(1, n_parts))
    lines = []
    for number in sorted(lacking)[:MOST_NAMED]:
        unlike = _why(known.get(number), now, stage)
        unfinished = f"has not finished: {lacking[number]} of its {wanted[number]} shards are missing"
        lines.append(
            f"{stage}: part {number}/{n_parts} {unlike or unfinished}; run the same command with "
            f"--part {number}/{n_parts} instead of --gather"
        )
    if len(lacking) > MOST_NAMED:
        lines.append(f"and {len(lacking) - MOST_NAMED} more parts")
    raise DataError("\n".join(lines))


def _why(record: PartRecord | None, now: PartRecord, stage: str) -> str | None:
    """Why a part has not made what this run needs, None if it is of this run."""
    if record is None:
        return "has not begun"
    if record.digests.get(stage) != now.digests[stage]:
        tables = ", ".join(f"[{name}]" for name in _different(record.config, now.config, stage))
        others = "other features, ratings, files or plugins" if stage == SCORE else "other files or plugins"
        return f"was made with {f'other settings in {tables}' if tables else others}"
    if stage == SCORE:
        return None  # the digest is of everything that its shards depend on
    if record.images != now.images:
        return (
            f"saw other images ({record.n_images}, and now there are {now.n_images}), other versions of them, or "
            "another --limit"
        )
    if record.shard_items != now.shard_items:
        return f"was made with {record.shard_items} images in a shard instead of {now.shard_items}"
    return None


def _different(one: Mapping[str, Any], other: Mapping[str, Any], stage: str) -> list[str]:
    names = (*NEEDED, "scorers") if stage == SCORE else NEEDED
    harmless = HARMLESS - {"top_images"} if stage == SCORE else HARMLESS

    def relevant(tables: Mapping[str, Any], name: str) -> Any:
        table = tables.get(name)
        if name == "run" and isinstance(table, Mapping):
            return {key: value for key, value in table.items() if key not in harmless}
        return table

    return [name for name in names if relevant(one, name) != relevant(other, name)]
