"""How long to wait before retrying a request: as the service asks, or with exponential back-off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom


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
