"""What folders and files are called. Ids are data: a name is derived from an id and never read back as one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from hashlib import sha256

from saeviz.toolkit.shard_files import ShardFiles

FOLDERS = {"patch-max": "spatial", "spatial": "patch-max"}
"""Kinds of tokens whose folder has another name, and what a kind with such a name is called in turn."""
FILES = ShardFiles("batches.jsonl", ".json")
ITEMS = "items.jsonl"
_MOST_BYTES = 180
_FORBIDDEN = re.compile(r'[\\/:*?"<>|%~\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|batch_.*", re.IGNORECASE)


def file_name(item_id: str, taken: Mapping[str, str]) -> str:
    """`{item_id}.json` where that is a good name on every file system, else a readable one with a hash.

    `taken` has whose the `folded` names are that are in use.
    """
    name = f"{item_id}.json"
    if _is_good(item_id) and taken.get(folded(name), item_id) == item_id:
        return name
    readable = re.sub(r"[^A-Za-z0-9]+", "_", item_id)[:40].strip("_")
    return f"{readable}~{sha256(item_id.encode()).hexdigest()[:32]}.json"


def folded(name: str) -> str:
    """Equal for names that a file system may take for the same: they differ in case or in how accents are written."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _is_good(item_id: str) -> bool:
    return (
        item_id.isprintable()
        and len(item_id.encode()) <= _MOST_BYTES
        and unicodedata.is_normalized("NFC", item_id)
        and item_id[0] not in ". "
        and item_id[-1] not in ". "
        and not _FORBIDDEN.search(item_id)
        and not _RESERVED.fullmatch(item_id)
    )
