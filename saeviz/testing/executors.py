"""The contract of executors, as a test suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from saeviz.contract import handover
from saeviz.contract.executors import Executor
from saeviz.testing.contract import Contract
from saeviz.testing.fake_work import FakeWork, fake_shards
from saeviz.values.errors import DataError, WorkerError

MakeExecutor = Callable[[], Executor]


class ExecutorContract(Contract):
    """Subclass this and define the fixture `executor`. Its workers must reach `tmp_path`.

    It must try a shard of which a worker dies at least twice, and at most ten times.
    """

    @pytest.fixture
    def executor(self) -> Executor:
        """The executor under test."""
        raise NotImplementedError("define the fixture executor")

    def test_is_an_executor(self, executor: Executor) -> None:
        assert isinstance(executor, Executor)
        handover.truth("the executor", "in_process", executor.in_process)
        handover.count("the executor", "shard_items", executor.shard_items)

    def test_does_every_shard_and_says_how_far_it_is(self, executor: Executor, tmp_path: Path) -> None:
        work, shards = FakeWork(tmp_path), fake_shards(5)
        done, finished = Counter[int](), []
        for step in handover.steps("the executor", executor.map(work, shards)):
            assert step.shard in shards
            assert step.shard.number not in finished, "a step after the last one"
            assert step.worker
            done[step.shard.number] += step.n_items
            if step.finished:
                assert (tmp_path / f"{step.shard.number}.txt").exists()
                finished.append(step.shard.number)
        assert sorted(finished) == [0, 1, 2, 3, 4]
        assert done == {shard.number: len(shard) for shard in shards}
        for shard in shards:
            assert (tmp_path / f"{shard.number}.txt").read_text().splitlines() == list(shard.item_ids)

    def test_has_nothing_to_do_without_shards(self, executor: Executor, tmp_path: Path) -> None:
        assert list(executor.map(FakeWork(tmp_path), [])) == []
        assert list(tmp_path.iterdir()) == []

    def test_what_work_raises_is_raised(self, executor: Executor, tmp_path: Path) -> None:
        work = FakeWork(tmp_path, fails_at=1)
        with pytest.raises(DataError, match=r"shard 1 \('image 1 0' to 'image 1 3'\): fake work was told to fail here"):
            list(executor.map(work, fake_shards(3)))
        assert work.begun().count(1) == 1, "an error is not tried again"
        assert not (tmp_path / "1.txt").exists()

    def test_a_shard_of_which_a_worker_died_is_tried_again(self, executor: Executor, tmp_path: Path) -> None:
        if executor.in_process:
            pytest.skip("it has no workers")
        work = FakeWork(tmp_path, dies_at=2, deaths=1)
        steps = list(executor.map(work, fake_shards(4)))
        assert sorted(step.shard.number for step in steps if step.finished) == [0, 1, 2, 3]
        assert Counter(work.begun()) == {0: 1, 1: 1, 2: 2, 3: 1}
        assert (tmp_path / "2.txt").exists()

    def test_a_shard_of_which_every_worker_dies_is_named(self, executor: Executor, tmp_path: Path) -> None:
        if executor.in_process:
            pytest.skip("it has no workers")
        work = FakeWork(tmp_path, dies_at=1, deaths=1000)
        with pytest.raises(WorkerError, match=r"shard 1 \('image 1 0' to 'image 1 3'\)"):
            list(executor.map(work, fake_shards(2)))
        assert 2 <= work.begun().count(1) <= 10

    def test_nobody_works_once_it_is_closed(self, executor: Executor, tmp_path: Path) -> None:
        work = FakeWork(tmp_path, seconds=0.05)
        with closing(executor.map(work, fake_shards(40))) as steps:
            next(steps)
        begun = work.begun()
        assert len(begun) < 40
        assert [one for one in fake_shards(40) if (tmp_path / f"{one.number}.txt").exists()] != fake_shards(40)
