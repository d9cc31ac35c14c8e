"""Killed at any moment and run again, a run ends like one that was never interrupted."""

from __future__ import annotations

import json
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
from saeviz.pipeline.run import Plan
from tests.conftest import FAKE_RUN, FAKES

pytestmark = pytest.mark.slow

N_IMAGES = 40
JUDGED = '[run]\ntop_images = 6\n[judge]\nuse = "labeler"\n'
SLOW = (
    (JUDGED + FAKE_RUN)
    .replace("n = 24", f"n = {N_IMAGES}\nbroken = 1")
    .replace('use = "fake-extractor"', 'use = "fake-extractor"\nseconds_per_item = 0.02')
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
    return saeviz.open_run(folder / "runs" / "slow", plugins=[FAKES])


def assert_same(run: saeviz.Run, expected: saeviz.Run) -> None:
    pd.testing.assert_frame_equal(run.scores, expected.scores)
    pd.testing.assert_frame_equal(run.correlations, expected.correlations)
    pd.testing.assert_frame_equal(run.judgements, expected.judgements)
    for name in ("selected.csv", "labels.jsonl", "judgements.jsonl", "failures.jsonl"):
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


KILLED_AT_EACH_WRITE = """
import os, signal, sys, traceback
from pathlib import Path

import pandas, pyarrow.parquet, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked and killed

import saeviz
import saeviz.testing.fakes

run_file, folder = Path(sys.argv[1]), Path(sys.argv[2])


def run(directory, killed_at=0):
    # How it ended, and which files it put in their places or added a line to, in the order in which it did.
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    writes = []

    def watch(event, given):
        is_line = event == "open" and str(given[1]).startswith("a")
        if event == "os.rename" or is_line:
            writes.append(f"{Path(os.fsdecode(given[0 if is_line else 1])).name}{'+' if is_line else ''}")
            if len(writes) == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(watch)
        saeviz.run(run_file, settings=[f"run.dir={folder / directory}"])
        (folder / f"{directory}.writes").write_text("\\n".join(writes))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


if run("whole"):
    sys.exit("the run failed by itself")
writes = (folder / "whole.writes").read_text().splitlines()
of_stages = [(number, name) for number, name in enumerate(writes, start=1) if not name.endswith((".npz", ".jsonl+"))]
lines = {name: number for number, name in enumerate(writes, start=1) if name in ("labels.jsonl+", "judgements.jsonl+")}
for number, name in [*of_stages, *((number, name) for name, number in lines.items())]:
    if run(f"{number:03}", killed_at=number) != signal.SIGKILL:
        sys.exit(f"it was not killed at {name}")
    if run(f"{number:03}"):
        sys.exit(f"killed at {name}, it does not go on")
    print(number, name)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_at_each_file_that_it_writes(tmp_path):
    """Before each file of its own that a run puts in its place, and before the last line of those with lines."""
    run_file = tmp_path / "run.toml"
    run_file.write_text((JUDGED + FAKE_RUN).replace("n = 24", "n = 16\nbroken = 1") + "[selector]\nlimit = 4\n")
    command = [sys.executable, "-c", KILLED_AT_EACH_WRITE, str(run_file), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    killed_at = dict(line.split() for line in done.stdout.splitlines())
    files = ["scores.parquet", "selected.csv", "labels.jsonl", "labels.jsonl+", "judgements.parquet", "run.json"]
    assert set(files) <= set(killed_at.values())
    expected = saeviz.open_run(tmp_path / "whole", plugins=[FAKES])
    for number in killed_at:
        assert_same(saeviz.open_run(tmp_path / f"{int(number):03}", plugins=[FAKES]), expected)


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
    assert_same(saeviz.open_run(tmp_path / "runs" / "slow", plugins=[FAKES]), uninterrupted)


RANDOM_KILLS = """
import os, random, signal, sys, time
from pathlib import Path

import pandas, pyarrow.parquet, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked and killed

import saeviz
import saeviz.testing.fakes
from saeviz.pipeline.run import Plan
from saeviz_npz.store import NpzStore

run_file, directory, n_kills, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
plan = Plan(last="extract")


def extract(tell):
    write = NpzStore.write

    def told(store, batch):
        os.write(tell, b"x")
        write(store, batch)

    NpzStore.write = told
    saeviz.run(run_file, settings=[f"run.dir={directory}"], plan=plan)
    os._exit(0)


chance = random.Random(seed)
kills = 0
while True:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            extract(writing)
        finally:
            os._exit(1)
    os.close(writing)
    for _ in range(chance.randint(1, 6)):
        os.read(reading, 1)
    if kills < n_kills:
        time.sleep(chance.uniform(0, 0.03))
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    os.close(reading)
    if os.WIFSIGNALED(status):
        kills += 1
    elif os.WEXITSTATUS(status):
        sys.exit("the run failed by itself")
    elif os.WIFEXITED(status):
        break
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_thirty_times_while_extracting(tmp_path):
    """Each process is killed at a random moment soon after it began one of its next writes."""
    run_file = tmp_path / "run.toml"
    run_file.write_text(
        FAKE_RUN.replace("n = 24", "n = 180\nbroken = 2")
        .replace('use = "fake-extractor"', 'use = "fake-extractor"\nseconds_per_item = 0.002')
        .replace('use = "npz"', 'use = "npz"\nshard_rows = 16')
    )
    plan = Plan(last="extract")
    expected = saeviz.run(run_file, settings=[f"run.dir={tmp_path / 'whole'}"], plan=plan)
    kills = 0
    for attempt in range(10):
        directory = tmp_path / f"killed {attempt}"
        command = [sys.executable, "-c", RANDOM_KILLS, run_file, directory, str(30 - kills), str(attempt)]
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        kills += int(done.stdout)
        assert_same_features(saeviz.open_run(directory, plugins=[FAKES]), expected)
        # A kill while small shards are merged, when all is written already, leaves a file that the next writer removes.
        assert_nothing_left_over(saeviz.run(run_file, settings=[f"run.dir={directory}", "images.n=181"], plan=plan))
        if kills == 30:
            return
    raise AssertionError(f"only {kills} kills")


def assert_same_features(run: saeviz.Run, expected: saeviz.Run) -> None:
    for space in expected.spaces:
        mine, theirs = run.features(space), expected.features(space)
        assert mine.item_ids == theirs.item_ids
        assert mine.matrix.indices.tolist() == theirs.matrix.indices.tolist()
        assert mine.matrix.data.tobytes() == theirs.matrix.data.tobytes()
    assert run.failures == expected.failures


def assert_nothing_left_over(run: saeviz.Run) -> None:
    assert list(run.dir.rglob("*.tmp")) == []
    shards = set((run.dir / "features").rglob("batch_*"))
    lines = [
        (path.parent, json.loads(line))
        for path in (run.dir / "features").rglob("index.jsonl")
        for line in path.read_text().splitlines()[1:]
    ]
    assert shards <= {folder / f"batch_{line['batch']:06d}.npz" for folder, line in lines}


def test_ctrl_c_leaves_with_130_and_says_how_to_go_on(tmp_path):
    (tmp_path / "slow.toml").write_text(SLOW)
    process = start(tmp_path)
    wait_for(process, "extract: ")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == saeviz.ExitCode.INTERRUPTED
    assert "interrupted; the same command resumes where it stopped" in said
    assert "Traceback" not in said


def test_ctrl_c_in_code_made_from_a_string_leaves_with_130_too(tmp_path):
    """As in some imports: Python remembers such an interruption and would end by the signal."""
    (tmp_path / "slow.py").write_text('exec("import sys, time; print(1, file=sys.stderr, flush=True); time.sleep(30)")')
    command = [sys.executable, "-m", "saeviz", "plugins", "--plugins", "./slow.py"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for(process, "1")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "interrupted" in said) == (saeviz.ExitCode.INTERRUPTED, True)
