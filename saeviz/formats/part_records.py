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
from saeviz.formats.files import explain_disk_errors, write_atomic
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


def write_part(folder: Path, record: PartRecord) -> None:
    """Write, or replace, the record of a part."""
    text = json.dumps(asdict(record), indent=2, ensure_ascii=False)
    write_atomic(folder / f"part-{record.number}-of-{record.n_parts}.json", f"{text}\n")


def remove_parts(folder: Path) -> None:
    """Remove the records of all parts, so that nothing is asked of them."""
    for path in folder.glob("part-*.json"):
        with explain_disk_errors(path, "removed"):
            path.unlink(missing_ok=True)


def read_parts(folder: Path) -> dict[int, PartRecord]:
    """The parts that have begun, by number; of several divisions those of the latest. Damaged ones are left out."""
    named = {path: name for path in folder.glob("part-*.json") if (name := _NAME.fullmatch(path.name))}
    latest = max(named, key=lambda path: path.stat().st_mtime_ns, default=None)
    found = {}
    for path, name in named.items():
        if latest is not None and name[2] == named[latest][2]:
            with suppress(*UNREADABLE):
                given = json.loads(read_regular(path, MOST_BYTES))
                found[int(name[1])] = PartRecord(**given | {"number": int(name[1]), "n_parts": int(name[2])})
    return found
