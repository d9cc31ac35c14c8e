"""The executor `local`: this process, or several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import saeviz
from saeviz.testing import ExecutorContract
from saeviz.testing.fake_work import FakeWork, fake_shards
from saeviz_local import LocalOptions
from saeviz_local.executor import LocalExecutor
from saeviz_local.machine import environment_of, gpus_for
from tests.waiting import PATIENCE, wait_until


def local(**options: int) -> LocalExecutor:
    return LocalExecutor(LocalOptions(**options), saeviz.Context(device="cpu"))


class TestThisProcess(ExecutorContract):
    component = LocalExecutor
    has_workers = False

    @pytest.fixture
    def executor(self, monkeypatch) -> LocalExecutor:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # which the device `cpu` leaves alone
        return local()

    def test_works_here(self, executor, tmp_path):
        work = FakeWork(tmp_path)
        list(executor.map(work, fake_shards(3)))
        assert work.workers() == {os.getpid()}


@pytest.mark.slow
class TestTwoProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self) -> LocalExecutor:
        return local(workers=2)

    def test_two_others_work(self, executor, tmp_path):
        work = FakeWork(tmp_path, seconds=0.2)
        steps = list(executor.map(work, fake_shards(6)))
        assert len(work.workers() - {os.getpid()}) == 2
        assert {step.worker for step in steps} == {"worker 1", "worker 2"}

    def test_killed_from_outside(self, executor, tmp_path, caplog):
        work = FakeWork(tmp_path, seconds=0.05)
        steps = executor.map(work, fake_shards(4))
        next(steps)
        victim = min(work.workers())
        os.kill(victim, signal.SIGKILL)
        finished = [step.shard.number for step in steps if step.finished]
        assert sorted(finished) == [0, 1, 2, 3]
        assert "was killed by SIGKILL while it worked on shard" in caplog.text
        assert "which is tried again" in caplog.text


DRIVER = """
    import sys
    from pathlib import Path
    import saeviz
    from saeviz.testing.fake_work import FakeWork, fake_shards
    from saeviz_local import LocalOptions
    from saeviz_local.executor import LocalExecutor

    executor = LocalExecutor(LocalOptions(workers=2), saeviz.Context(device="cpu"))
    for step in executor.map(FakeWork(Path(sys.argv[1]), seconds=3600), fake_shards(2)):
        pass
"""
"""A script without the guard that multiprocessing needs."""


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_that_has_started_them(tmp_path, by):
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), tmp_path], stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    work = FakeWork(tmp_path)
    wait_until(lambda: (tmp_path / "log").exists() and len(work.workers()) == 2)
    driver.send_signal(by)
    driver.wait(PATIENCE)
    wait_until(lambda: not any(map(is_alive, work.workers())))


def is_alive(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_share_cores_and_gpus(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    found = [environment_of(number, 3, gpus_for("auto")) for number in range(3)]
    assert [one["OMP_NUM_THREADS"] for one in found] == ["2", "2", "2"]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["4", "7", "4"]
    assert environment_of(1, 3, gpus_for("cuda:1"))["CUDA_VISIBLE_DEVICES"] == "4,7"
    assert environment_of(1, 99, [])["OMP_NUM_THREADS"] == "1"


class OwnGpu:
    """Work that notes which GPUs its process sees, and whether it has loaded torch."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, shard):
        seen = f"{os.environ['CUDA_VISIBLE_DEVICES']} {'torch' in sys.modules}"
        (self.folder / str(shard.number)).write_text(seen)
        while len(list(self.folder.iterdir())) < 2:  # so that both workers get one
            time.sleep(0.01)
        yield len(shard)


@pytest.mark.slow
@pytest.mark.parametrize("listed_by", ["CUDA_VISIBLE_DEVICES", "nvidia-smi"])
def test_of_several_gpus_each_gets_a_worker(tmp_path, monkeypatch, listed_by):
    """There need not be any: what lists them is made up."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    if listed_by == "nvidia-smi":
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        command = tmp_path / "nvidia-smi"
        command.write_text("#!/bin/sh\necho 'GPU 0: one'\necho 'GPU 1: another'\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    executor = LocalExecutor(LocalOptions(), saeviz.Context())
    assert not executor.in_process
    folder = tmp_path / "seen"
    folder.mkdir()
    steps = list(executor.map(OwnGpu(folder), fake_shards(2)))
    assert {step.worker for step in steps} == {"worker 1", "worker 2"}
    numbers = ("4", "7") if listed_by == "CUDA_VISIBLE_DEVICES" else ("0", "1")
    assert sorted(path.read_text() for path in folder.iterdir()) == [f"{number} False" for number in numbers]


@pytest.mark.parametrize(("device", "gpus", "workers"), [("cuda", "4", 1), ("cuda:1", "4,7", 1), ("cuda", "4,7", 2)])
def test_one_worker_more_for_each_gpu_that_the_device_may_be(monkeypatch, device, gpus, workers):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    assert LocalExecutor(LocalOptions(), saeviz.Context(device=device)).n_workers == workers
    assert LocalExecutor(LocalOptions(workers=1), saeviz.Context(device=device)).in_process
