"""The executor `ray` on a cluster of this machine alone, which it starts and ends."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import saeviz
from saeviz.testing import ExecutorContract
from saeviz.testing.fake_work import FakeWork, fake_shards
from saeviz_ray import RayOptions
from saeviz_ray.actor import ShardActor
from saeviz_ray.executor import RayExecutor, _sign_in
from tests.waiting import PATIENCE, wait_until

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
SECRET = "sk-a-key-of-a-service"


@pytest.fixture(scope="module")
def on_sigterm() -> object:
    """What this process does before it has started a cluster."""
    return signal.getsignal(signal.SIGTERM)


@pytest.fixture(scope="module")
def started(on_sigterm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "executor"
    executor = RayExecutor(RayOptions(workers=2), saeviz.Context(device="cpu", workdir=folder))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("A_SERVICE_KEY", SECRET)
        yield executor
    executor.close()


@needs_ray
@pytest.mark.slow
class TestThisMachine(ExecutorContract):
    @pytest.fixture
    def executor(self, started) -> RayExecutor:
        return started

    def test_two_actors_work_and_leave_nothing_in_the_run_directory(self, executor, on_sigterm, tmp_path):
        executor.context.workdir.mkdir(parents=True, exist_ok=True)
        with _sign_in(executor.context.workdir) as own:
            own.with_name(own.name.replace(f"-{os.getpid()}-", "-99999999-")).touch()  # of a run that was killed
        work = FakeWork(tmp_path, seconds=0.2)
        steps = list(executor.map(work, fake_shards(6)))
        assert len(work.workers() - {os.getpid()}) == 2
        assert {step.worker for step in steps} == {"worker 1", "worker 2"}
        assert signal.getsignal(signal.SIGTERM) == on_sigterm
        assert not executor.context.workdir.exists()

    def test_another_part_that_ends_meanwhile_takes_nothing_away(self, executor, tmp_path):
        with _sign_in(executor.context.workdir) as of_another:
            list(executor.map(FakeWork(tmp_path), fake_shards(2)))
            assert of_another.exists()
        assert not executor.context.workdir.exists()

    def test_killed_from_outside(self, executor, tmp_path, caplog):
        work = FakeWork(tmp_path, seconds=0.05)
        steps = executor.map(work, fake_shards(4))
        next(steps)
        os.kill(min(work.workers()), signal.SIGKILL)
        assert sorted(step.shard.number for step in steps if step.finished) == [0, 1, 2, 3]
        assert "ended unexpectedly while it worked on shard" in caplog.text
        assert "which is tried again" in caplog.text

    def test_a_worker_that_does_not_see_the_run_directory_says_so(self, started, tmp_path, monkeypatch):
        list(started.map(FakeWork(tmp_path), fake_shards(1)))  # it runs, where this process was then
        monkeypatch.chdir(tmp_path)
        here = Path("/proc/self/cwd/executor")  # another place for every process
        if not here.parent.exists():
            pytest.skip("/proc/self is of Linux")
        executor = RayExecutor(RayOptions(workers=1), saeviz.Context(device="cpu", workdir=here))
        with pytest.raises(saeviz.WorkerError, match=r"does not see the run directory, /proc/self/cwd; it must be on"):
            list(executor.map(FakeWork(tmp_path), fake_shards(1)))
        executor.context = saeviz.Context(device="cpu", workdir=here, workdir_is_shared=False)
        assert list(executor.map(FakeWork(tmp_path), fake_shards(1))), "the run directory is in an object store"
        executor.close()
        assert list(started.map(FakeWork(tmp_path), fake_shards(1))), "who had started the cluster has it still"

    def test_secrets_of_the_environment_are_not_in_the_logs_of_ray(self, executor, tmp_path):
        import ray

        list(executor.map(FakeWork(tmp_path), fake_shards(1)))
        assert SECRET in os.environ.values()
        node = ray._private.worker._global_node
        logs = [path for path in Path(node.get_session_dir_path()).rglob("*") if path.is_file()]
        assert logs
        assert not [path for path in logs if SECRET.encode() in path.read_bytes()]

    def test_more_workers_than_processors(self, started):
        n, resources = started._cluster.share(RayOptions(workers=1000))
        assert n == 1000
        assert 0 < resources.cpus < 1

    def test_what_this_machine_does_not_have(self, started):
        with pytest.raises(
            saeviz.ConfigError, match=r"executor: this machine does not have 1 processors and 63 GPUs for"
        ):
            started._cluster.share(RayOptions(gpus=63, cpus=1))


@pytest.fixture
def actor(monkeypatch) -> ShardActor:
    logger = logging.getLogger("saeviz")
    for name in ("handlers", "propagate", "level"):
        monkeypatch.setattr(logger, name, getattr(logger, name))
    return ShardActor()


def talkative_work(shard: saeviz.Shard) -> Iterator[int]:
    """Logs something."""
    logger = logging.getLogger("saeviz")
    logger.warning("said of %s", shard.key)
    logger.debug("for developers")
    try:
        raise KeyError("inside")
    except KeyError:
        logger.debug("it fails", exc_info=True)
    yield len(shard)


def test_what_workers_log_is_given_to_the_run(actor, tmp_path):
    assert actor.prepare(saeviz.__version__, tmp_path, pickle.dumps(talkative_work))[1] == ""
    warning, (*failure, traceback), *rest = actor.do(fake_shards(1)[0])
    assert warning == ("log", logging.WARNING, "said of key0")
    assert failure == ["log", logging.DEBUG, "it fails"]
    assert traceback.splitlines()[-1] == "    KeyError: 'inside'"
    assert rest == [("step", 4), ("finished", 0)]


def test_a_worker_with_another_saeviz_says_so(actor, tmp_path):
    _, problem = actor.prepare("99.0", tmp_path, b"what only that version can read")
    assert problem == f"has saeviz {saeviz.__version__}, the run has 99.0; install the same on every machine"


def test_ray_client_is_refused():
    with pytest.raises(ValueError, match=r"Ray Client \(ray://\) is not supported: start the run on a machine of"):
        RayOptions(address="ray://there:10001")


DRIVER = """
    import sys
    from pathlib import Path
    import saeviz
    from saeviz.testing.fake_work import FakeWork, fake_shards
    from saeviz_ray import RayOptions
    from saeviz_ray.executor import RayExecutor

    folder = Path(sys.argv[1])
    executor = RayExecutor(RayOptions(workers=2), saeviz.Context(device="cpu", workdir=folder / "executor"))
    for step in executor.map(FakeWork(folder, seconds=3600), fake_shards(2)):
        pass
"""


@pytest.fixture
def driver(tmp_path):
    """A process of a run whose two workers are at work."""
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), tmp_path]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_until(
        lambda: (tmp_path / "log").exists() and len(FakeWork(tmp_path).workers()) == 2, lambda: driver.poll() is None
    )
    yield driver
    driver.kill()
    driver.communicate(timeout=PATIENCE)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_the_cluster_ends_with_the_process_that_has_started_it(driver, tmp_path, by):
    of_the_cluster = FakeWork(tmp_path).workers() | set(servers_of(driver.pid).values())
    assert len(of_the_cluster) == 4
    driver.send_signal(by)
    driver.wait(PATIENCE)
    wait_until(lambda: not any(map(is_alive, of_the_cluster)))


@needs_ray
@pytest.mark.slow
def test_a_run_whose_only_machine_is_lost_ends_with_a_sentence(driver):
    os.kill(servers_of(driver.pid)["raylet"], signal.SIGKILL)
    said = driver.communicate(timeout=PATIENCE)[1]
    assert driver.returncode == 1
    assert "no machine of the Ray cluster is left; the same command goes on where this run was" in said


def servers_of(process: int) -> dict[str, int]:
    """Those that a cluster consists of, by name. Ray's agents end by themselves, a minute later."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in found.splitlines()]
    return {
        name: int(child) for child, parent, name in lines if int(parent) == process and name in {"gcs_server", "raylet"}
    }


def is_alive(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
