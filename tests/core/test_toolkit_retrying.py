"""When a service is asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event

import pytest

from saeviz.toolkit import retrying
from saeviz.toolkit.retrying import NotNowError, Pace, Retries, StoppedError, backoff, may_pass, seconds_to_wait


def test_retry_after_in_each_of_its_forms():
    soon = datetime.now(UTC) + timedelta(seconds=600)
    assert seconds_to_wait({"retry-after": " 12 "}) == 12
    assert seconds_to_wait({"retry-after": "1.5"}) == 1.5
    assert seconds_to_wait({"retry-after": "12", "retry-after-ms": "250"}) == 0.25
    assert seconds_to_wait({"retry-after": format_datetime(soon, usegmt=True)}) == pytest.approx(600, abs=60)
    assert seconds_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 -0000"}) == 0
    assert seconds_to_wait({"retry-after": "9" * 5000}) > 1e6


@pytest.mark.parametrize("said", ["", "later", "nan", "inf", "-5", "1e3", "\N{SUPERSCRIPT TWO}", "Mon, 01 Jan"])
def test_what_cannot_be_waited_for_is_not(said):
    assert seconds_to_wait({"retry-after": said}) is None
    assert seconds_to_wait({}) is None


@pytest.mark.parametrize(("attempt", "most"), [(0, 0.5), (1, 1), (2, 2), (20, 60), (100_000, 60)])
def test_each_wait_is_twice_as_long_up_to_the_longest(attempt, most):
    assert all(most / 2 <= backoff(attempt, 0.5, 60) <= most for _ in range(50))


@pytest.fixture
def waits(monkeypatch):
    """What would have been waited, in seconds; the clock goes on by it."""
    waited = []
    monkeypatch.setattr(retrying, "pause", lambda seconds, _: waited.append(seconds) if seconds > 0 else None)
    monkeypatch.setattr(retrying, "clock", lambda: sum(waited))
    return waited


def failing(*failures, then="answer"):
    """An attempt that fails so often."""
    left = list(failures)

    def attempt():
        if left:
            raise left.pop(0)
        return then

    return attempt


def test_statuses_that_pass_and_that_do_not():
    assert [status for status in range(200, 600) if may_pass(status) and status < 500] == [408, 425, 429]
    assert [status for status in range(500, 530) if not may_pass(status)] == [501, 505]


def test_attempts_are_made_until_one_succeeds(waits):
    noted = []
    retries = Retries(4, 1, 60)
    failures = NotNowError("one"), NotNowError("two", 7), NotNowError("three", 0)
    assert retries(failing(*failures), lambda error, seconds: noted.append((str(error), seconds))) == "answer"
    assert [error for error, _ in noted] == ["one", "two", "three"]
    assert [seconds for _, seconds in noted] == waits
    assert 0.5 <= waits[0] <= 1
    assert waits[1] == 7
    assert 2 <= waits[2] <= 4, "a service that asks for nothing is not asked at once for ever"


def test_the_last_failure_is_raised_with_the_number_of_tries(waits):
    with pytest.raises(NotNowError, match="three") as raised:
        Retries(3, 1, 60)(failing(*map(NotNowError, ("one", "two", "three", "four"))))
    assert raised.value.tries == 3
    assert len(waits) == 2


def test_a_service_that_asks_for_longer_than_is_waited_is_left(waits):
    with pytest.raises(NotNowError) as raised:
        Retries(3, 1, 60)(failing(NotNowError("daily limit", 3600)))
    assert (raised.value.tries, waits) == (1, [])


def test_another_failure_is_not_tried_again(waits):
    with pytest.raises(KeyError):
        Retries(3, 1, 60)(failing(KeyError("x")))
    assert waits == []


def test_what_is_asked_of_all_holds_everybody_back(waits):
    pace = Pace()
    assert Retries(2, 1, 60, pace=pace)(failing(NotNowError("slow down", 9, is_for_all=True))) == "answer"
    pace.hold(5)
    Retries(1, 1, 60, pace=pace)(failing())
    assert waits == [9, 5]


def test_requests_keep_a_pace(waits):
    pace = Pace(per_minute=30)
    for _ in range(4):
        pace.wait()
    assert waits == [2, 2, 2]


def test_nothing_is_waited_for_or_asked_once_the_run_has_ended():
    stop = Event()
    retries = Retries(3, 600, 600, stop=stop)

    def attempt():
        stop.set()
        raise NotNowError("busy")

    with pytest.raises(StoppedError):
        retries(attempt)
    with pytest.raises(StoppedError):
        retries(failing())
