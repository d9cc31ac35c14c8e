"""How long to wait before a service is asked again: as it says itself, else longer each time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110), or the finer `retry-after-ms`.

    None where it asks for nothing, or for what cannot be understood. The names of `headers` are in lower case or
    found in any.
    """
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        given = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]*)?", given):
            return float(given[:9]) / per_second  # the first nine digits of more are more than anybody waits
    return _seconds_until(given)


def backoff(attempt: int, first: float, longest: float) -> float:
    """Seconds before the next attempt, counted from 0: `first` at most, doubled each time, up to `longest`.

    Between half and all of it at random, so that those who were turned away together do not come back together.
    """
    most = min(first * 2.0 ** min(attempt, 100), longest)
    return SystemRandom().uniform(most / 2, most)


def _seconds_until(date: str) -> float | None:
    try:
        then = parsedate_to_datetime(date)
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
