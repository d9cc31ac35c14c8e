"""Workers, or the process that has started them, are killed at any moment: nothing is lost, nothing counts twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import saeviz
from tests.conftest import FAKES
from tests.sharded import RUN, alone, assert_same
from tests.waiting import wait_until

CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHILDREN.exists(), reason="needs /proc to find the workers")]
TWO = ("--set", "executor.use=local", "--set", "executor.workers=2", "--set", "executor.shard_items=4")


@pytest.fixture
def run_file(tmp_path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace('"fake-extractor"', '"fake-extractor"\nseconds_per_item = 0.02'))
    return path


def start(run_file: Path, *arguments: str) -> subprocess.Popen[str]:
    out = run_file.parent / "shared"
    command = [sys.executable, "-m", "saeviz", "run", run_file.name, "--until", "embed", *arguments, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=run_file.parent, env=environment, stderr=subprocess.PIPE, text=True)


def n_written(run_dir: Path) -> int:
    """Files that were made, and taken in."""
    return sum(len(list((run_dir / folder).rglob("*.npz"))) for folder in ("shards", "features", "embeddings"))


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The threads that tend workers are their parents."""
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return sorted({int(child) for children in lists for child in children})


def wait_for(process: subprocess.Popen[str], n: int) -> None:
    """Until there are so many files more, or the process has ended."""
    wait_until(lambda: n_written(Path(process.args[-1])) >= n or process.poll() is not None)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a run; its workers end by themselves."""
    workers = workers_of(process)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)))


def test_workers_killed(run_file):
    expected = alone(run_file)
    process, chance = start(run_file, *TWO), random.Random(3)
    for n in (1, 5, 9):
        wait_for(process, n)
        os.kill(chance.choice(workers_of(process)), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == saeviz.ExitCode.PARTIAL, said
    assert "was killed by SIGKILL while it worked on shard" in said
    assert_same(saeviz.open_run(run_file.parent / "shared", plugins=[FAKES]), expected)


def test_the_run_is_killed_again_and_again(run_file):
    expected, directory = alone(run_file), run_file.parent / "shared"
    for more in (1, 3, 4, 2):
        process = start(run_file, *TWO)
        wait_for(process, n_written(directory) + more)
        kill(process)
    process = start(run_file, *TWO)
    _, said = process.communicate()
    assert process.returncode == saeviz.ExitCode.PARTIAL, said
    assert_same(saeviz.open_run(directory, plugins=[FAKES]), expected)


def test_one_process_takes_in_what_workers_have_made(run_file):
    expected, directory = alone(run_file), run_file.parent / "shared"
    process = start(run_file, *TWO)
    wait_for(process, 3)
    kill(process)
    process = start(run_file, "--set", "executor.use=local")
    _, said = process.communicate()
    assert process.returncode == saeviz.ExitCode.PARTIAL, said
    assert_same(saeviz.open_run(directory, plugins=[FAKES]), expected)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ctrl_c(run_file):
    process = start(run_file, *TWO, "--set", "extractor.seconds_per_item=3600")
    wait_until(lambda: len(workers_of(process)) == 2)
    workers = workers_of(process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == saeviz.ExitCode.INTERRUPTED
    assert "interrupted; the same command resumes where it stopped" in said
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_alive, workers)))
