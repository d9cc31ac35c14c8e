"""`shards/part-3-of-64.json`: of which run, images and settings a part of a run makes shards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.folders import Folder
from saeviz.values.regular import read_regular

MOST_BYTES = 64 * 2**20
_NAME = re.compile(r"part-([1-9][0-9]{0,5})-of-([1-9][0-9]{0,5})\.json")


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


def write_part(folder: Folder, record: PartRecord) -> None:
    """Write, or replace, the record of a part."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False)
    with folder.writing(f"part-{record.number}-of-{record.n_parts}.json") as file:
        file.write(f"{text}\n".encode())


def part_names(folder: Folder) -> list[str]:
    """The names of the records of all parts. They go before states do, so that nothing is asked of these parts."""
    return [name for name in folder.names("part-") if _NAME.fullmatch(name)]


def read_parts(folder: Folder) -> dict[int, PartRecord]:
    """The parts that have begun, by number; of several divisions those of the latest. Damaged ones are left out."""
    named = {name: parts for name in part_names(folder) if (parts := _NAME.fullmatch(name))}
    latest = max(named, key=folder.written, default=None)
    found = {}
    for name, parts in named.items():
        if latest is not None and parts[2] == named[latest][2]:
            with suppress(*UNREADABLE):
                source = folder.source(name)
                given = json.loads(read_regular(source, MOST_BYTES) if isinstance(source, Path) else source)
                record = PartRecord(**given | {"number": int(parts[1]), "n_parts": int(parts[2])})
                if isinstance(record.digests, dict) and isinstance(record.config, dict):
                    found[int(parts[1])] = record
    return found
