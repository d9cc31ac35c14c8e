"""Killed at any moment and run again, a run ends like one that was never interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import saeviz
from tests.conftest import FAKE_RUN

N_IMAGES = 40
SLOW = FAKE_RUN.replace("n = 24", f"n = {N_IMAGES}\nbroken = 1").replace(
    'use = "fake-extractor"', 'use = "fake-extractor"\nseconds_per_item = 0.02'
)
SLOW = SLOW.replace('use = "fake-embeddings"', 'use = "fake-embeddings"\nseconds_per_item = 0.01')
SLOW = SLOW.replace('use = "fake-labeler"', 'use = "fake-labeler"\nseconds_per_item = 0.02')


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "saeviz", "run", "slow.toml"]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    for text in process.stderr:
        if line in text:
            return
    raise AssertionError(f"{line!r} was never said")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> saeviz.Run:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "slow.toml").write_text(SLOW)
    process = start(folder)
    _, said = process.communicate()
    assert process.returncode == saeviz.ExitCode.PARTIAL, said
    return saeviz.open_run(folder / "runs" / "slow")


def assert_same(run: saeviz.Run, expected: saeviz.Run) -> None:
    pd.testing.assert_frame_equal(run.scores, expected.scores)
    pd.testing.assert_frame_equal(run.correlations, expected.correlations)
    for name in ("selected.csv", "labels.jsonl", "failures.jsonl"):
        assert (run.dir / name).read_text() == (expected.dir / name).read_text(), name
    top, expected_top = (pd.read_parquet(one.dir / "top_images.parquet") for one in (run, expected))
    pd.testing.assert_frame_equal(top, expected_top)
    for space in expected.spaces:
        mine, theirs = run.features(space), expected.features(space)
        assert len(mine) == len(set(mine.item_ids)) == len(theirs)
        order = [mine.item_ids.index(item_id) for item_id in theirs.item_ids]
        assert np.array_equal(mine.matrix.toarray()[order], theirs.matrix.toarray())
    leftovers = list(run.dir.rglob("*.tmp"))
    assert leftovers == []


@pytest.mark.parametrize("stage", ["extract", "embed", "score", "select", "label", "report"])
def test_killed_in_each_stage(tmp_path, uninterrupted, stage):
    (tmp_path / "slow.toml").write_text(SLOW)
    process = start(tmp_path)
    wait_for(process, f"{stage}: ")
    time.sleep(random.Random(stage).uniform(0, 0.3))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed = start(tmp_path)
    _, said = resumed.communicate()
    assert resumed.returncode == saeviz.ExitCode.PARTIAL, said
    assert_same(saeviz.open_run(tmp_path / "runs" / "slow"), uninterrupted)


def test_killed_again_and_again(tmp_path, uninterrupted):
    (tmp_path / "slow.toml").write_text(SLOW)
    chance = random.Random(7)
    kills = 0
    for attempt in range(25):
        process = start(tmp_path)
        try:
            process.communicate(timeout=chance.uniform(0.6, 1.4) * (1 + attempt / 5))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
    else:
        raise AssertionError("25 attempts without getting to the end: nothing was kept from one to the next")
    assert kills > 0, "the run was never killed"
    assert_same(saeviz.open_run(tmp_path / "runs" / "slow"), uninterrupted)


def test_ctrl_c_leaves_with_130_and_says_how_to_go_on(tmp_path):
    (tmp_path / "slow.toml").write_text(SLOW)
    process = start(tmp_path)
    wait_for(process, "extract: ")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == saeviz.ExitCode.INTERRUPTED
    assert "interrupted; the same command goes on where it was" in said
    assert "Traceback" not in said
