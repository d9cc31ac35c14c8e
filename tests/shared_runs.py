"""Runs over six pictures that share a cache, as far as embeddings."""

from __future__ import annotations

from pathlib import Path

import saeviz
from saeviz.pipeline.run import Plan
from tests.conftest import FAKE_RUN
from tests.hostile_server import picture

COLOURS = ["red", "green", "blue", "white", "black", "gray"]


def write_run(folder: Path) -> Path:
    """The pictures, and a run file whose runs share what they compute in `cache` beside it."""
    (folder / "pictures").mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / "pictures" / f"{number}.png").write_bytes(picture(colour))
    path = folder / "art.toml"
    source = FAKE_RUN.replace('use = "fake-images"\nn = 24', 'use = "folder"\npath = "pictures"')
    path.write_text(source + '[run]\ndir = "runs/one"\ncache = true\ncache_dir = "cache"\n')
    return path


def run(run_file: Path, name: str, *settings: str, redo: tuple[str, ...] = ()) -> saeviz.Run:
    """A run in a directory of its own."""
    directory = run_file.parent / "runs" / name
    return saeviz.run(run_file, settings=[f"run.dir={directory}", *settings], plan=Plan(last="embed", redo=redo))


def log_of(made: saeviz.Run) -> str:
    """All that it said."""
    return (made.dir / "log.txt").read_text()
