"""Killed at any moment and run again, a run ends like one that was never interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.pipeline.run import Plan
from tests.conftest import FAKE_RUN, FAKES
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

JUDGED = '[run]\ntop_images = 6\nrating_images = 10\n[judge]\nuse = "labeler"\n'
RUN = (JUDGED + FAKE_RUN).replace("n = 24", "n = 24\nbroken = 1") + "[selector]\nlimit = 4\n"
RUN = RUN.replace('use = "fake-extractor"', 'use = "fake-extractor"\nreconstruction_error = true')
RUN = RUN.replace('use = "pearson-bh"', 'use = "pearson-bh"\nsplit = 0.4')
LINES = ("of_images.jsonl+", "labels.jsonl+", "judgements.jsonl+", "label_scores.jsonl+")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "saeviz", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    for text in process.stderr:
        if line in text:
            return
    raise AssertionError(f"{line!r} was never said")


def assert_same(run: saeviz.Run, expected: saeviz.Run) -> None:
    pd.testing.assert_frame_equal(run.scores, expected.scores)
    pd.testing.assert_frame_equal(run.correlations, expected.correlations)
    pd.testing.assert_frame_equal(run.judgements, expected.judgements)
    pd.testing.assert_frame_equal(run.images_table, expected.images_table)
    pd.testing.assert_frame_equal(run.label_ratings, expected.label_ratings)
    assert len(run.label_ratings) > 2
    files = ("selected.csv", "of_images.jsonl", "labels.jsonl", "judgements.jsonl", "label_scores.jsonl")
    for name in (*files, "failures.jsonl"):
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


FORKED = """
import os, random, shutil, signal, sys, traceback
from pathlib import Path

import pandas, pyarrow.parquet, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked and killed

import saeviz
import saeviz.testing.fakes

run_file, folder = Path(sys.argv[1]), Path(sys.argv[2])
os.fsync = lambda descriptor: None  # only a machine that goes down needs it


def run(directory, killed_at=0, copied=False):
    # How it ended, and which files it put in their places or added a line to, in the order in which it did.
    # What a kill would leave before each of them is what is on the disk; it is copied to a folder with its number.
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    writes = []

    def watch(event, given):
        is_line = event == "open" and str(given[1]).startswith("a")
        if event == "os.rename" or is_line:
            writes.append(f"{Path(os.fsdecode(given[0 if is_line else 1])).name}{'+' if is_line else ''}")
            if copied:
                shutil.copytree(folder / directory, folder / f"{len(writes):03}")
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


"""

AT_EACH_WRITE = """
sys.exit(run("whole", copied=True))
"""

AGAIN_AND_AGAIN = """
if run("whole"):
    sys.exit("the run failed by itself")
writes = (folder / "whole.writes").read_text().splitlines()
chance = random.Random(7)
for kills in range(len(writes)):
    ended = run("killed", killed_at=chance.randint(2, 9) + 2 * kills)
    if ended != signal.SIGKILL:
        break
print("failed" if ended else kills)
"""


def forked(folder: Path, code: str) -> str:
    """What a process says that forks others, which are killed or copied at some of their writes."""
    (folder / "run.toml").write_text(RUN)
    command = [sys.executable, "-c", FORKED + code, str(folder / "run.toml"), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_at_each_file_that_it_writes(tmp_path):
    """Before each file of its own that a run puts in its place, and before the last line of those with lines."""
    forked(tmp_path, AT_EACH_WRITE)
    writes = list(enumerate((tmp_path / "whole.writes").read_text().splitlines(), start=1))
    last = {name: number for number, name in writes if name in LINES}
    of_stages = {number: name for number, name in writes if not name.endswith((".npz", ".jsonl+"))}
    killed_at = of_stages | {number: name for name, number in last.items()}
    files = ["scores.parquet", "selected.csv", "labels.jsonl", "labels.jsonl+", "judgements.parquet", "run.json"]
    files += ["label_scores.jsonl+", "label_ratings.parquet"]
    assert set(files) <= set(killed_at.values())
    expected = saeviz.open_run(tmp_path / "whole", plugins=[FAKES])
    for number in killed_at:
        directory = tmp_path / f"{number:03}"
        assert_same(saeviz.run(tmp_path / "run.toml", settings=[f"run.dir={directory}"]), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_again_and_again(tmp_path):
    """One run, each time a few writes after it went on: nothing of what is kept from one to the next is lost."""
    assert int(forked(tmp_path, AGAIN_AND_AGAIN)) >= 3
    expected = saeviz.open_run(tmp_path / "whole", plugins=[FAKES])
    assert_same(saeviz.open_run(tmp_path / "killed", plugins=[FAKES]), expected)


RANDOM_KILLS = """
import os, random, signal, sys, threading
from pathlib import Path

import pandas, pyarrow.parquet, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked and killed

import saeviz
import saeviz.testing.fakes
from saeviz.pipeline.run import Plan
from saeviz_npz.store import NpzStore

run_file, directory, n_kills, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
plan = Plan(last="extract")


def extract(number, delay):
    # Ended by a timer that is set at a write.
    write, written = NpzStore.write, []

    def watched(store, batch):
        written.append(batch)
        if len(written) == number:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        write(store, batch)

    NpzStore.write = watched
    saeviz.run(run_file, settings=[f"run.dir={directory}"], plan=plan)
    os._exit(0)


chance = random.Random(seed)
kills = 0
while True:
    number = chance.randint(1, 6) if kills < n_kills else 0
    delay = chance.uniform(0, 0.03)
    process = os.fork()
    if process == 0:
        try:
            extract(number, delay)
        finally:
            os._exit(1)
    status = os.waitpid(process, 0)[1]
    if os.WIFSIGNALED(status):
        kills += 1
    elif status:
        sys.exit("the run failed by itself")
    else:
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
    (tmp_path / "slow.toml").write_text(FAKE_RUN)
    process = start(tmp_path, "run", "slow.toml", "--set", "extractor.seconds_per_item=3600")
    wait_for(process, "extract: ")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == saeviz.ExitCode.INTERRUPTED
    assert "interrupted; the same command resumes where it stopped" in said
    assert "Traceback" not in said


def test_ctrl_c_in_code_made_from_a_string_leaves_with_130_too(tmp_path):
    """As in some imports: Python remembers such an interruption and would end by the signal."""
    slow = 'exec("import sys, time; print(1, file=sys.stderr, flush=True); time.sleep(3600)")'
    (tmp_path / "slow.py").write_text(slow)
    process = start(tmp_path, "plugins", "--plugins", "./slow.py")
    wait_for(process, "1")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "interrupted" in said) == (saeviz.ExitCode.INTERRUPTED, True)
