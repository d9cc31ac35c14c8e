"""Find run directories among other folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

from saeviz.formats.damage import UNREADABLE
from saeviz.formats.rundir import MOST_BYTES
from saeviz.values.regular import read_regular

_OTHER_FILES = ("items.parquet", "log.txt", ".lock")


def is_run_directory(path: Path) -> bool:
    """Whether a folder is a run directory: by its `run.json`, or, where that is damaged, by what lies beside it."""
    manifest = path / "run.json"
    try:
        if not manifest.is_file():
            return False
        content = json.loads(read_regular(manifest, MOST_BYTES))
    except UNREADABLE:
        return any((path / name).exists() for name in _OTHER_FILES)
    return isinstance(content, dict) and {"format", "stages"} <= content.keys()


def run_directories(folder: Path) -> list[Path]:
    """The run directories in a folder, including itself; their contents are not searched."""
    found = []
    for place, folders, files in os.walk(folder):
        if "run.json" in files and is_run_directory(Path(place)):
            found.append(Path(place))
            folders.clear()
    return sorted(found)
