"""The contract of executors, as a test suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from saeviz.contract import handover
from saeviz.contract.executors import Executor
from saeviz.testing.contract import Contract, assert_equal, needs, refused
from saeviz.testing.fake_work import FakeWork, fake_shards
from saeviz.values.checks import kind_of
from saeviz.values.errors import DataError, WorkerError
from saeviz.values.shards import Shard, Step

MakeExecutor = Callable[[], Executor]


class ExecutorContract(Contract):
    """Subclass this and define the fixture `executor`. Its workers must reach `tmp_path`.

    It must try a shard of which a worker dies at least twice, and at most ten times.
    """

    subject = "executor"
    has_workers: ClassVar[bool] = True
    """Whether it works in other processes than that of the run (`in_process` is false), which may die."""

    @pytest.fixture
    def executor(self) -> Executor:
        """The executor under test."""
        raise NotImplementedError("define the fixture executor")

    def test_is_an_executor(self, executor: Executor) -> None:
        self.assert_is(executor, Executor)
        handover.truth("the executor", "in_process", executor.in_process)
        handover.count("the executor", "shard_items", executor.shard_items)
        assert self.has_workers or executor.in_process, (
            "the executor has workers, of which the suite says has_workers = False: leave it out, and they are checked"
        )

    def test_does_every_shard_and_says_how_far_it_is(self, executor: Executor, tmp_path: Path) -> None:
        work, shards = FakeWork(tmp_path), fake_shards(5)
        done, finished = Counter[int](), []
        for step in steps_of(executor, work, shards):
            number = step.shard.number
            assert step.shard in shards, f"map gives a step of shard {number}, which it was not given"
            assert number not in finished, f"map gives a step of shard {number} after the one that says finished"
            assert step.worker, f"map gives a step of shard {number} whose worker is empty; a name was expected"
            done[step.shard.number] += step.n_items
            if step.finished:
                there = (tmp_path / f"{number}.txt").exists()
                assert there, f"map says that shard {number} is finished before work has done it"
                finished.append(number)
        assert_equal(sorted(finished), [0, 1, 2, 3, 4], "the shards with a step that says finished")
        counted = {number: count for number, count in done.items() if count != len(shards[number])}
        assert not counted, f"the steps count {counted} images by shard; each shard has {len(shards[0])}"
        for shard in shards:
            ids = (tmp_path / f"{shard.number}.txt").read_text().splitlines()
            assert_equal(ids, list(shard.item_ids), f"the images that work did of shard {shard.number}")

    def test_has_nothing_to_do_without_shards(self, executor: Executor, tmp_path: Path) -> None:
        assert_equal(list(steps_of(executor, FakeWork(tmp_path), [])), [], "the steps of no shards")
        made = [path.name for path in tmp_path.iterdir()]
        assert not made, f"map of no shards made the files {made}"

    def test_what_work_raises_is_raised(self, executor: Executor, tmp_path: Path) -> None:
        work = FakeWork(tmp_path, fails_at=1)
        named = "shard 1 ('image 1 0' to 'image 1 3'): fake work was told to fail here"
        with refused(DataError, "a shard of which work raises saeviz.DataError", naming=named):
            list(steps_of(executor, work, fake_shards(3)))
        tries = work.begun().count(1)
        assert tries == 1, f"a shard of which work raises was begun {tries} times; an error is not tried again"
        assert not (tmp_path / "1.txt").exists(), "the shard of which work raised is done after all"

    @needs(declared="has_workers")
    def test_a_shard_of_which_a_worker_died_is_tried_again(self, executor: Executor, tmp_path: Path) -> None:
        _refuse_this_process(executor)
        work = FakeWork(tmp_path, dies_at=2, deaths=1)
        steps = list(steps_of(executor, work, fake_shards(4)))
        finished = sorted(step.shard.number for step in steps if step.finished)
        assert_equal(finished, [0, 1, 2, 3], "the shards that are finished although a worker died")
        begun = dict(sorted(Counter(work.begun()).items()))
        assert_equal(begun, {0: 1, 1: 1, 2: 2, 3: 1}, "how often each shard was begun, when a worker of shard 2 died,")
        assert (tmp_path / "2.txt").exists(), "the shard of which a worker died is said to be finished, and is not"

    @needs(declared="has_workers")
    def test_a_shard_of_which_every_worker_dies_is_named(self, executor: Executor, tmp_path: Path) -> None:
        _refuse_this_process(executor)
        work = FakeWork(tmp_path, dies_at=1, deaths=1000)
        named = "shard 1 ('image 1 0' to 'image 1 3')"
        with refused(WorkerError, "a shard of which every worker dies", naming=named):
            list(steps_of(executor, work, fake_shards(2)))
        tries = work.begun().count(1)
        assert 2 <= tries <= 10, f"a shard of which every worker dies was begun {tries} times; 2 to 10 are expected"

    def test_nobody_works_once_it_is_closed(self, executor: Executor, tmp_path: Path) -> None:
        work = FakeWork(tmp_path, seconds=0.05)
        with closing(steps_of(executor, work, fake_shards(40))) as steps:
            next(steps, None)
        begun = work.begun()
        done = sum((tmp_path / f"{one.number}.txt").exists() for one in fake_shards(40))
        assert len(begun) < 40, (
            "closing the generator after its first step does not keep it from beginning all 40 shards"
        )
        assert done < 40, "closing the generator after its first step does not keep it from doing all 40 shards"


def steps_of(executor: Executor, work: FakeWork, shards: Sequence[Shard]) -> Generator[Step]:
    """What `map` gives, checked as in a run: a generator of steps, which can be closed."""
    given = executor.map(work, shards)
    assert hasattr(given, "close"), f"map returned {kind_of(given)}; a generator of saeviz.Step objects was expected"
    with closing(given):
        yield from handover.steps("the executor", given)


def _refuse_this_process(executor: Executor) -> None:
    """Work that dies must not end the process of the tests."""
    if executor.in_process:
        pytest.skip("the executor has no workers that could die; say has_workers = False, and this check is not made")
