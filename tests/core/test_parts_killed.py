"""Parts and the run that gathers them are killed at their writes: what comes of it is that of an uninterrupted run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import saeviz
from tests.conftest import FAKES
from tests.sharded import RUN, alone, assert_same
from tests.small_parts import PLUGIN

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]

FORKED = """
import os, random, signal, sys

import pandas, pyarrow.parquet, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked and killed

import saeviz.cli
import saeviz.testing.fakes

os.fsync = lambda descriptor: None  # only a machine that goes down needs it
chance = random.Random(5)


def started(killed_at, *arguments):
    # In a process of its own, which is killed before it moves, removes or adds a line to a file for this time.
    process = os.fork()
    if process:
        return process
    seen = []

    def watch(event, given):
        if event in {"os.rename", "os.remove"} or (event == "open" and str(given[1]).startswith("a")):
            seen.append(event)
            if len(seen) == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.argv = ["saeviz"]
    try:
        saeviz.cli.main(["run", "run.toml", "--out", "shared", "--until", "embed", *arguments])
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        os._exit(99)


def until_it_ends(*arguments):
    # A part makes 15 of these moves, and one that goes on what is left and a line of its log: early enough for two.
    kills = 0
    while True:
        status = os.waitpid(started(chance.randint(1, 5) + 3 * kills, *arguments), 0)[1]
        if not os.WIFSIGNALED(status):
            return kills, os.waitstatus_to_exitcode(status)
        kills += 1


"""

ONE_BY_ONE = """
print(*until_it_ends("--part", "2/2"), *until_it_ends("--part", "1/2"), *until_it_ends("--gather"))
"""

AT_ONCE = """
todo = [("--part", "1/3"), ("--part", "3/3"), ("--part", "2/3"), ("--part", "3/3")]
for delay in (3, 9, 14, 0):
    running = [started(delay and delay + chance.randint(0, 6), *arguments) for arguments in todo]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in running]
assert set(codes) <= {0, 4}, codes
print(*until_it_ends("--gather"))
"""

SCORES = """
for arguments in (("--part", "1/1"), ("--gather",)):
    assert os.waitstatus_to_exitcode(os.waitpid(started(0, *arguments), 0)[1]) == 4
scores = ("--from", "score", "--until", "score")
todo = [("--part", part, *scores) for part in ("1/3", "3/3", "2/3", "3/3")]
for delay in (2, 12, 0):
    running = [started(delay and delay + chance.randint(0, 6), *arguments) for arguments in todo]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in running]
assert set(codes) == {0}, codes
alone = started(0, "--out", "alone", "--set", "executor.use=local", "--until", "score")
gathered = [os.waitpid(started(killed_at, "--gather", *scores), 0)[1] for killed_at in (5, 13, 17, 0)]
os.waitpid(alone, 0)
print(sum(map(os.WIFSIGNALED, gathered)), os.waitstatus_to_exitcode(gathered[-1]))
"""


def ended(folder: Path, code: str) -> list[int]:
    """Run the code; returns the pairs of kills and exit codes that it prints."""
    command = [sys.executable, "-c", FORKED + code]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = list(map(int, done.stdout.split()))
    assert told[-1] == saeviz.ExitCode.PARTIAL, done.stderr
    return told


@pytest.mark.parametrize("code", [ONE_BY_ONE, AT_ONCE], ids=["one by one", "at once"])
def test_killed_again_and_again(tmp_path, code):
    (tmp_path / "run.toml").write_text(RUN)
    told = ended(tmp_path, code)
    assert all(kills >= 2 for kills in told[::2]), told
    assert_same(saeviz.open_run(tmp_path / "shared", plugins=[FAKES]), alone(tmp_path / "run.toml"))


def test_parts_that_make_scores_are_killed(tmp_path):
    (tmp_path / "run.toml").write_text(RUN.replace('use = ["module', f'use = ["{PLUGIN}", "module'))
    assert ended(tmp_path, SCORES)[0] == 3
    for table in ("scores.parquet", "correlations.parquet", "top_images.parquet", "images.parquet"):
        assert (tmp_path / "shared" / table).read_bytes() == (tmp_path / "alone" / table).read_bytes(), table
    assert not (tmp_path / "shared" / "shards" / "score").exists()
