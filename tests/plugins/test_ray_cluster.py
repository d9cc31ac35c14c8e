"""The executor `ray` on a cluster of several nodes, each with processes of its own, all on this machine."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import saeviz
from saeviz.testing.fake_work import FakeWork, fake_shards
from saeviz_ray import RayOptions
from saeviz_ray.cluster import LOCAL
from saeviz_ray.executor import RayExecutor
from tests.sharded import RUN, alone, assert_same, run
from tests.waiting import wait_until

if TYPE_CHECKING:
    from ray._private.node import Node

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")]
SLOWLY = RUN.replace('use = "fake-extractor"', 'use = "mine"\nseconds_per_item = 0.1').replace(
    '"module:saeviz.testing.fakes"', '"module:saeviz.testing.fakes", "mine.py"'
)
PLUGIN = """
import saeviz
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions


class Mine(FakeExtractor):
    pass


@saeviz.hookimpl
def saeviz_feature_extractors():
    yield saeviz.FeatureExtractorSpec(name="mine", summary="of a file", options=FakeExtractorOptions, factory=Mine)
"""
SOON_MISSED = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 2,
}
"""By these a node that is lost is noticed in a second or two instead of ten."""
NODE = {"include_dashboard": False, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """A head on which no worker has place, and two nodes with place for one each."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in LOCAL.items():
            patched.setenv(name, value)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "_system_config": SOON_MISSED, **NODE}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1, **NODE)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def make_executor(cluster, tmp_path):
    made = []

    def make(**options) -> RayExecutor:
        context = saeviz.Context(device="cpu", workdir=tmp_path / "run" / "executor")
        made.append(RayExecutor(RayOptions(address=cluster.address, **options), context))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def test_one_worker_on_each_node(make_executor, tmp_path):
    executor = make_executor()
    assert len(list(executor.map(FakeWork(tmp_path, seconds=0.5), fake_shards(6)))) == 18
    assert executor._cluster.share(executor.options)[0] == 2
    assert len(FakeWork(tmp_path).workers()) == 2


def test_nobody_listens_at_the_address(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        executor = RayExecutor(RayOptions(address=address), saeviz.Context(workdir=tmp_path, place="executor"))
        with pytest.raises(saeviz.ConfigError, match=rf"executor.address: no Ray cluster at '{address}' that this"):
            list(executor.map(FakeWork(tmp_path), fake_shards(1)))


def test_a_node_joins_and_is_lost_in_the_middle(cluster, make_executor, tmp_path):
    """Nobody waits for a worker that has no place."""
    n_shards, work = 24, FakeWork(tmp_path, seconds=1)
    steps = make_executor(workers=3, cpus=1).map(work, fake_shards(n_shards))
    next(steps)
    finished: list[int] = []
    joined = cluster.add_node(num_cpus=1, **NODE)
    for step in steps:
        finished += [step.shard.number] * step.finished
        if len(work.workers()) == 3 and joined is not None:
            cluster.remove_node(joined, allow_graceful=False)
            joined = None
    assert joined is None, "it has not worked"
    assert sorted(finished) == list(range(n_shards))
    assert len(work.begun()) <= n_shards + 1, "only the shard in progress was begun again"


def test_the_same_run_with_a_worker_and_a_node_lost(cluster, tmp_path, caplog):
    run_file = tmp_path / "run.toml"
    run_file.write_text(SLOWLY)
    (tmp_path / "mine.py").write_text(PLUGIN)
    expected = alone(run_file)
    lost = cluster.add_node(num_cpus=1, **NODE)
    made: list[saeviz.Run] = []
    settings = ("executor.use=ray", f"executor.address={cluster.address}", "executor.shard_items=4")
    thread = threading.Thread(target=lambda: made.append(run(run_file, "shared", *settings)))
    thread.start()
    shards = tmp_path / "shared" / "shards" / "extract"
    wait_until(lambda: shards.exists() and any(shards.iterdir()), thread.is_alive)
    staying = [node for node in cluster.list_all_nodes() if node is not lost]
    wait_until(lambda: actors_on(staying), thread.is_alive)
    os.kill(actors_on(staying)[0], signal.SIGKILL)
    wait_until(lambda: "ended unexpectedly" in caplog.text, thread.is_alive)
    cluster.remove_node(lost, allow_graceful=False)
    thread.join()
    assert_same(made[0], expected)


def actors_on(nodes: Iterable[Node]) -> list[int]:
    """The actors on some nodes of the cluster: other nodes and other tests have actors on this machine, too."""
    sockets = {f"--raylet_socket_name={node.raylet_socket_name}".encode() for node in nodes}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if (process / "cmdline").read_bytes().startswith(b"ray::ShardActor"):
                raylet = Path("/proc") / (process / "stat").read_text().rpartition(")")[2].split()[1]
                if not sockets.isdisjoint((raylet / "cmdline").read_bytes().split(b"\0")):
                    found.append(int(process.name))
    return found
