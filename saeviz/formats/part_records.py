"""`shards/part-3-of-64.json`: of which run, images and settings a part of a run makes shards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.files import write_atomic

MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class PartRecord:
    """The part `number` of `n_parts`, from 1. `digests` are those of its stages, `images` stands for all images."""

    number: int
    n_parts: int
    digests: Mapping[str, str]
    n_images: int
    images: str
    shard_items: int
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.number}/{self.n_parts}"


def write_part(folder: Path, record: PartRecord) -> None:
    """Write, or replace, the record of a part."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False)
    write_atomic(folder / f"part-{record.number}-of-{record.n_parts}.json", f"{text}\n")


def read_parts(folder: Path) -> dict[int, PartRecord]:
    """The parts that have begun, by number; of several divisions those of the latest. Damaged ones are left out."""
    latest = max(folder.glob("part-*.json"), key=lambda path: path.stat().st_mtime_ns, default=None)
    if latest is None or (n_parts := latest.stem.rpartition("-of-")[2]) == "":
        return {}
    found = {}
    for path in folder.glob(f"part-*-of-{n_parts}.json"):
        try:
            record = PartRecord(**json.loads(path.read_text(encoding="utf-8")))
            found[int(record.number)] = record
        except UNREADABLE:
            continue
    return found
