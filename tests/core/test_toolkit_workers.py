"""Workers that share shards: what becomes of the run when some cannot start."""

from __future__ import annotations

import errno
import logging
from contextlib import closing
from threading import Event

import pytest

import saeviz
from saeviz.formats.plain import OneLineFormatter
from saeviz.testing.fake_work import fake_shards
from saeviz.toolkit.workers import Pool, WorkerDied, answers_of


class ObedientWorker:
    """Does its shards in this process."""

    def wait_until_ready(self):
        pass

    def do(self, shard):
        yield from answers_of(lambda one: iter([len(one)]), shard)

    def kill(self):
        pass

    def end(self):
        pass


class StillbornWorker(ObedientWorker):
    """Dies before it is ready."""

    def wait_until_ready(self):
        raise WorkerDied("ended with exit code 5")


class LostWorker(ObedientWorker):
    """Finds that it cannot work here."""

    def wait_until_ready(self):
        raise saeviz.ConfigError("executor: no run directory here")


class WaitingWorker(ObedientWorker):
    """Waits for a machine until it is killed."""

    def __init__(self):
        self.killed = Event()

    def wait_until_ready(self):
        self.killed.wait()
        raise WorkerDied("was killed")

    def kill(self):
        self.killed.set()


def finished(*start):
    with closing(Pool(start, fake_shards(4), tries=3)) as pool:
        return sorted(step.shard.number for step in pool.steps() if step.finished)


def test_a_worker_that_cannot_start_is_done_without(caplog):
    tries, third_try = [], Event()

    class PatientWorker(ObedientWorker):
        def wait_until_ready(self):
            third_try.wait()

    def stillborn():
        tries.append(1)
        if len(tries) == 3:
            third_try.set()
        return StillbornWorker()

    assert finished(PatientWorker, stillborn) == [0, 1, 2, 3]
    assert len(tries) == 3
    assert caplog.text.count("before it could begin to work; another one is started") == 2


def test_without_any_worker_the_run_ends():
    with pytest.raises(saeviz.WorkerError, match=r"worker [12] ended with exit code 5 before it could begin to work"):
        finished(StillbornWorker, StillbornWorker)


def test_a_worker_that_cannot_be_started_is_done_without_or_ends_the_run():
    def start():
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    assert finished(start, ObedientWorker) == [0, 1, 2, 3]
    with pytest.raises(
        saeviz.WorkerError, match="cannot be started: Resource temporarily unavailable, and there is no"
    ):
        finished(start)


def test_a_worker_that_cannot_work_ends_the_run_with_its_reason():
    with pytest.raises(saeviz.ConfigError, match="executor: no run directory here"):
        finished(WaitingWorker, LostWorker)


def test_the_end_is_not_held_up_by_workers_that_wait_for_a_machine():
    waiting = WaitingWorker()
    assert finished(ObedientWorker, lambda: waiting) == [0, 1, 2, 3]


class TalkativeWorker(ObedientWorker):
    """Has something to log that only a file is for."""

    def do(self, shard):
        yield "log", logging.DEBUG, "it fails", "    Traceback of\n    several lines"
        yield "finished", 0


def test_a_traceback_of_a_worker_is_logged_as_one_of_this_process(caplog):
    with caplog.at_level(logging.DEBUG, "saeviz"):
        assert finished(TalkativeWorker) == [0, 1, 2, 3]
    assert [OneLineFormatter().format(record) for record in caplog.records] == [
        "it fails\n    Traceback of\n    several lines"
    ] * 4
