"""Asking a service again: which failures pass, how long to wait, and one loop that does it for all threads together."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom
from threading import Event, Lock
from typing import TypeVar

T = TypeVar("T")
LASTING = frozenset({501, 505})
"""Statuses from 500 that say the same however often a service is asked."""


class NotNowError(Exception):
    """A service did not answer this time, and may later.

    `wait`: the seconds for which it wants to be left alone, None if it does not say. `is_for_all`: it wants that of
    every request. `tries`: the total number of requests.
    """

    tries = 1

    def __init__(self, reason: str, wait: float | None = None, *, is_for_all: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.is_for_all = wait, is_for_all


class StoppedError(Exception):
    """The run has ended; nothing more is asked."""


def may_pass(status: int) -> bool:
    """Whether the same request may be answered a little later than with this HTTP status."""
    return status in (408, 425, 429) or (status >= 500 and status not in LASTING)


class Pace:
    """When the next request may be sent, for all threads together: `per_minute` at most, and none during a hold."""

    def __init__(self, per_minute: float | None = None, stop: Event | None = None) -> None:
        self._between = 60 / per_minute if per_minute else 0.0
        self._stop = stop
        self._next = 0.0
        self._lock = Lock()

    def wait(self) -> None:
        """Block until the next request may be sent; raises `StoppedError` if the run ends before that."""
        with self._lock:
            start = max(self._next, clock())
            self._next = start + self._between
        pause(start - clock(), self._stop)

    def hold(self, seconds: float) -> None:
        """Delay all requests by at least `seconds`."""
        with self._lock:
            self._next = max(self._next, clock() + seconds)


class Retries:
    """Makes attempts until one succeeds: `tries` at most, at the `pace` of all threads, none after `stop`.

    The pause begins at `first` seconds, is doubled each time up to `longest`, and is never shorter than the service
    asks for. One that asks for more than `longest` is not asked again.
    """

    def __init__(
        self, tries: int, first: float, longest: float, *, pace: Pace | None = None, stop: Event | None = None
    ) -> None:
        self._tries, self._first, self._longest = tries, first, longest
        self._pace, self._stop = pace or Pace(stop=stop), stop

    def __call__(self, attempt: Callable[[], T], note: Callable[[NotNowError, float], None] | None = None) -> T:
        """What `attempt` gives, called again where it raises `NotNowError`; the last of these is raised.

        `note` is told of each failure that is not the last, and how many seconds later the next attempt is made.
        """
        for number in range(self._tries):
            self._pace.wait()
            try:
                return attempt()
            except NotNowError as error:
                error.tries = number + 1
                seconds = max(error.wait or 0.0, backoff(number, self._first, self._longest))
                if error.tries == self._tries or seconds > self._longest:
                    raise
                if note is not None:
                    note(error, seconds)
                if error.is_for_all:
                    self._pace.hold(seconds)
                else:
                    pause(seconds, self._stop)
        raise ValueError("there must be at least one try")


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait according to `Retry-After` (seconds or a date, RFC 9110) or `retry-after-ms`.

    None if there is no such header or it cannot be parsed. `headers` must have lower-case names or ignore case.
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        given = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]*)?", given):
            return float(given[:9]) / per_second  # longer numbers are cut: nobody waits that long
    return _seconds_until(given)


def backoff(attempt: int, first: float, longest: float) -> float:
    """Seconds to wait after attempt number `attempt`: at most `first` for 0, doubled each time, up to `longest`.

    The time is drawn from between half and all of that maximum, so that clients rejected together do not retry
    together.
    """
    most = min(first * 2.0 ** min(attempt, 100), longest)
    return SystemRandom().uniform(most / 2, most)


def _seconds_until(date: str) -> float | None:
    try:
        then = parsedate_to_datetime(date)
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def clock() -> float:
    """Seconds since some moment in the past."""
    return time.monotonic()


def pause(seconds: float, stop: Event | None = None) -> None:
    """Wait; raises `StoppedError` if `stop` is set before or meanwhile."""
    if stop is not None:
        if stop.wait(max(0.0, seconds)):
            raise StoppedError
    elif seconds > 0:
        time.sleep(seconds)
