"""Runs whose images are shared among workers, and what is compared with one that does everything itself."""

from __future__ import annotations

import json
from pathlib import Path

import saeviz
from saeviz.pipeline.run import Plan
from tests.conftest import FAKE_RUN

RUN = (
    FAKE_RUN.replace("n = 24", "n = 50\nbroken = 3")
    .replace('use = "fake-extractor"', 'use = "fake-extractor"\nreconstruction_error = true')
    .replace("[plugins]", '[executor]\nuse = "fake-executor"\n[plugins]')
)
EMBEDDED = Plan(last="embed")


def run(run_file: Path, name: str, *settings: str, plan: Plan = EMBEDDED, limit: int | None = None) -> saeviz.Run:
    return saeviz.run(run_file, settings=[f"run.dir={run_file.parent / name}", *settings], plan=plan, limit=limit)


def alone(run_file: Path, name: str = "alone", *settings: str, **more) -> saeviz.Run:
    return run(run_file, name, "executor.use=local", *settings, **more)


def assert_same(made: saeviz.Run, expected: saeviz.Run) -> None:
    assert made.spaces == expected.spaces
    for space in expected.spaces:
        mine, theirs = made.features(space), expected.features(space)
        assert mine.item_ids == theirs.item_ids
        assert mine.matrix.indptr.tolist() == theirs.matrix.indptr.tolist()
        assert mine.matrix.indices.tolist() == theirs.matrix.indices.tolist()
        assert mine.matrix.data.tobytes() == theirs.matrix.data.tobytes()
    assert set(made.failures) == set(expected.failures)
    mine, theirs = (one.dir / "of_images.jsonl" for one in (made, expected))
    assert mine.exists() == theirs.exists()
    assert not theirs.exists() or mine.read_text() == theirs.read_text()
    assert vectors(made) == vectors(expected)
    assert record_of(made) == record_of(expected)
    assert list(made.dir.glob("shards/*/")) == []
    assert list(made.dir.rglob("*.tmp")) == []


def vectors(made: saeviz.Run) -> dict[str, bytes]:
    import numpy as np

    found = {}
    for path in sorted((made.dir / "embeddings").glob("*.npz")):
        part = np.load(path)
        for (item_id, fingerprint), row in zip(json.loads(part["keys"].tobytes()), part["vectors"], strict=True):
            found[item_id, fingerprint] = row.tobytes()
    return found


def record_of(made: saeviz.Run) -> dict:
    """What the manifest says of the stages, but for times and the digests of files."""
    stages = made.manifest["stages"]
    return {
        name: {key: value for key, value in record.items() if key not in {"seconds", "finished", "sha256"}}
        for name, record in stages.items()
    }
