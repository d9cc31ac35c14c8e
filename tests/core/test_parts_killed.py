"""Parts and the run that gathers them are killed at their writes: what comes of it is that of an uninterrupted run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import saeviz
from tests.conftest import FAKES
from tests.sharded import RUN, alone, assert_same

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
    kills = 0
    while True:
        status = os.waitpid(started(chance.randint(1, 12) + 2 * kills, *arguments), 0)[1]
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


@pytest.mark.parametrize(("code", "fewest"), [(ONE_BY_ONE, 2), (AT_ONCE, 2)], ids=["one by one", "at once"])
def test_killed_again_and_again(tmp_path, code, fewest):
    (tmp_path / "run.toml").write_text(RUN)
    command = [sys.executable, "-c", FORKED + code]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = list(map(int, done.stdout.split()))
    assert told[-1] == saeviz.ExitCode.PARTIAL, done.stderr
    assert all(kills >= fewest for kills in told[::2]), told
    assert_same(saeviz.open_run(tmp_path / "shared", plugins=[FAKES]), alone(tmp_path / "run.toml"))
