"""What passes between the labeler and a web service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True)
class Picture:
    """A JPEG as it is sent."""

    jpeg: bytes = field(repr=False)


Part = str | Picture


@dataclass(frozen=True)
class Question:
    """What is asked: standing `instructions`, then texts and pictures in order. The answer is JSON of the `schema`."""

    instructions: str
    parts: Sequence[Part]
    schema: Mapping[str, Any]

    @property
    def n_pictures(self) -> int:
        """How many pictures are sent."""
        return sum(isinstance(part, Picture) for part in self.parts)

    @property
    def n_letters(self) -> int:
        """Length of all texts together."""
        return len(self.instructions) + sum(len(part) for part in self.parts if isinstance(part, str))


class Reply(NamedTuple):
    """What came back: the text, what it cost, and the model's exact name ('' = not told).

    `is_cut_off`: it reached the limit of tokens. `refusal`: why the service will not answer, '' where it did.
    """

    text: str
    input_tokens: int
    output_tokens: int
    model: str = ""
    is_cut_off: bool = False
    refusal: str = ""


class ServiceError(Exception):
    """The service gave no answer. `status` is the HTTP status that says so, None where nothing came back at all.

    Services set 401 for any refused key and 402 for an empty account, whatever their own status is. `wait`: the
    seconds after which the service wants to be asked again, None where it does not say.
    """

    def __init__(self, status: int | None, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.wait = status, reason, wait


class Service(Protocol):
    """One web service, called from several threads at once."""

    @property
    def name(self) -> str:
        """As messages call it."""
        ...

    def ask(self, question: Question) -> Reply:
        """The answer; raises `ServiceError`, and nothing else, where there is none."""
        ...

    def image_tokens(self, size: int) -> int:
        """About how many tokens a square picture of this many pixels a side counts for."""
        ...


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110), or the finer `retry-after-ms`."""
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        return float(headers["retry-after"])
    except KeyError:
        return None
    except ValueError:
        return _seconds_until(headers["retry-after"])


def _seconds_until(date: str) -> float | None:
    try:
        then = parsedate_to_datetime(date)
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def http_reason(body: Any, default: str) -> str:
    """The message of an error's body, which every service puts in the same place."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    message = error.get("message") if isinstance(error, Mapping) else error
    return message if isinstance(message, str) and message else default
