"""The contract of executors finds what an executor may do wrong, and a run notices it."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.testing import ExecutorContract, fakes
from tests.sharded import RUN, run


class Here(fakes.FakeExecutor):
    """Without workers that could die."""

    in_process = True

    def __init__(self):
        super().__init__(fakes.FakeExecutorOptions(), saeviz.Context())


class TestAGoodOne(ExecutorContract):
    component = Here
    has_workers = False

    @pytest.fixture
    def executor(self):
        return Here()


class LosesAShard(Here):
    def map(self, work, shards):
        yield from super().map(work, shards[1:])


class NeverSaysThatItIsDone(Here):
    def map(self, work, shards):
        for step in super().map(work, shards):
            yield step._replace(finished=False)


class GoesOnAfterTheLastStep(Here):
    def map(self, work, shards):
        for step in super().map(work, shards):
            yield step
            yield step._replace(n_items=0)


class CountsTwice(Here):
    def map(self, work, shards):
        for step in super().map(work, shards):
            yield step._replace(n_items=2 * step.n_items)


class SaysSoBeforeItIsDone(Here):
    def map(self, work, shards):
        for shard in shards:
            yield saeviz.Step(shard, "hasty", len(shard), finished=True)
            list(work(shard))


class HidesErrors(Here):
    def map(self, work, shards):
        for shard in shards:
            try:
                yield from super().map(work, [shard])
            except saeviz.SaevizError:
                yield saeviz.Step(shard, "hidden", 0, finished=True)


class TriesErrorsAgain(Here):
    def map(self, work, shards):
        try:
            yield from super().map(work, shards)
        except saeviz.SaevizError:
            yield from super().map(work, shards)


class DoesAllAtOnce(Here):
    def map(self, work, shards):
        yield from list(super().map(work, shards))


EVERY_SHARD = ExecutorContract.test_does_every_shard_and_says_how_far_it_is


@pytest.mark.parametrize(
    ("executor", "test"),
    [
        (LosesAShard, EVERY_SHARD),
        (NeverSaysThatItIsDone, EVERY_SHARD),
        (GoesOnAfterTheLastStep, EVERY_SHARD),
        (CountsTwice, EVERY_SHARD),
        (SaysSoBeforeItIsDone, EVERY_SHARD),
        (HidesErrors, ExecutorContract.test_what_work_raises_is_raised),
        (TriesErrorsAgain, ExecutorContract.test_what_work_raises_is_raised),
        (DoesAllAtOnce, ExecutorContract.test_nobody_works_once_it_is_closed),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_faulty_executor_is_found(tmp_path, executor, test):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(ExecutorContract(), executor(), tmp_path)


FAULTY = """
import saeviz
from saeviz.testing.fakes import FakeExecutor, FakeExecutorOptions

class Faulty(FakeExecutor):
    def map(self, work, shards):
        {body}

@saeviz.hookimpl
def saeviz_executors():
    yield saeviz.ExecutorSpec(name="faulty", summary="", options=FakeExecutorOptions, factory=Faulty)
"""


def test_saying_twice_that_a_shard_is_done_does_no_harm(tmp_path):
    body = "for step in super().map(work, shards): yield step; yield step"
    (tmp_path / "faulty.py").write_text(FAULTY.format(body=body))
    run_file = tmp_path / "run.toml"
    run_file.write_text(RUN.replace("testing.fakes", 'testing.fakes", "./faulty.py'))
    assert len(run(run_file, "shared", "executor.use=faulty").failures) == 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("yield from super().map(work, shards[1:])", "has left 1 shards undone"),
        ("yield from (saeviz.Step(one, 'idle', 0, True) for one in shards)", "is missing or damaged"),
        ("raise KeyError('node 3')", "fails with KeyError: 'node 3'"),
        ("yield from ('done' for _ in shards)", "gave a str from map, which must give Step objects"),
    ],
    ids=["loses one", "makes nothing", "fails", "gives something else"],
)
def test_a_run_notices(tmp_path, body, said):
    (tmp_path / "faulty.py").write_text(FAULTY.format(body=body))
    run_file = tmp_path / "run.toml"
    run_file.write_text(RUN.replace("testing.fakes", 'testing.fakes", "./faulty.py'))
    with pytest.raises(saeviz.SaevizError) as caught:
        run(run_file, "shared", "executor.use=faulty")
    assert said in str(caught.value)
