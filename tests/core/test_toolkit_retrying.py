"""When a service is asked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from saeviz.toolkit.retrying import backoff, seconds_to_wait


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
