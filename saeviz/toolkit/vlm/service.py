"""The interface between the labeler and a web service: questions, replies and errors."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Picture:
    """A picture to send, as JPEG bytes."""

    jpeg: bytes = field(repr=False)


Part = str | Picture


class Extra(Enum):
    """A part of a question that can be left out or sent differently; the value is its name in messages."""

    SCHEMA = "a JSON schema of the answer"
    LIMIT = "the usual name for the limit of tokens"
    SYSTEM = "instructions apart from the question"
    RESOLUTION = "a resolution of the images"


@dataclass(frozen=True)
class Question:
    """A question: constant `instructions`, then texts and pictures in order. The answer is JSON matching `schema`.

    `without` lists the extras that the server rejects. Without `SYSTEM`, the instructions come before the parts.
    """

    instructions: str
    parts: Sequence[Part]
    schema: Mapping[str, Any]
    without: frozenset[Extra] = frozenset()

    def has(self, extra: Extra) -> bool:
        """Whether to send this extra to the server."""
        return extra not in self.without

    @property
    def apart(self) -> str:
        """The instructions if they are sent separately from the parts, else ''."""
        return self.instructions if self.has(Extra.SYSTEM) else ""

    @property
    def together(self) -> Sequence[Part]:
        """The parts, preceded by the instructions if these are not sent separately."""
        return self.parts if self.has(Extra.SYSTEM) else [self.instructions, *self.parts]

    @property
    def n_pictures(self) -> int:
        """The number of pictures."""
        return sum(isinstance(part, Picture) for part in self.parts)

    @property
    def n_letters(self) -> int:
        """The total length of all texts, in characters."""
        return len(self.instructions) + sum(len(part) for part in self.parts if isinstance(part, str))


class Reply(NamedTuple):
    """A service's reply: the text, the tokens used, and the model's exact name ('' if unknown).

    `is_cut_off`: the answer reached the token limit. `refusal`: why the service declined to answer, '' if it answered.
    """

    text: str
    input_tokens: int
    output_tokens: int
    model: str = ""
    is_cut_off: bool = False
    refusal: str = ""


class ServiceError(Exception):
    """The service did not answer. `status` is the HTTP status, None if there was no response at all.

    A `Service` must use 401 for any rejected key and 402 for an exhausted account, whatever the server's own status. It
    must not follow redirects, which would send the key and the images to another host, but raise the redirect's status
    with `redirect_reason`. `wait` is the number of seconds after which the service asks to be retried, None if it does
    not say.
    """

    def __init__(self, status: int | None, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.wait = status, reason, wait


class Service(Protocol):
    """One web service, called from several threads at once."""

    @property
    def name(self) -> str:
        """The name of the service in messages."""
        ...

    def ask(self, question: Question) -> Reply:
        """The reply to a question. Raises `ServiceError`, and nothing else, if there is none."""
        ...

    def image_tokens(self, size: int) -> int:
        """The approximate number of tokens of a square picture of `size` pixels a side."""
        ...


@runtime_checkable
class AdaptableService(Service, Protocol):
    """A service that can leave extras out of a question, for servers that reject them."""

    @property
    def extras(self) -> Collection[Extra]:
        """The extras that are sent unless listed in `Question.without`."""
        ...


def http_reason(body: Any, default: str) -> str:
    """The error message in the body of a server's response: JSON (decoded or not), plain text or HTML.

    Recognised JSON forms include `{"error": {"message": ...}}`, `{"error": "..."}`, `{"message": ...}`, and FastAPI's
    `{"detail": ...}`. Returns `default` if there is no message.
    """
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    if isinstance(body, str):
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return _plain(body) or default
        body = found if isinstance(found, Mapping | list | str) or found is None else body
    return _said(body, depth=0) or default


SAYING = (
    *("error", "message", "detail", "details", "msg", "errors", "error_description", "error_message", "errorMessage"),
    *("fault", "faultstring", "title", "reason"),
)
"""JSON keys that may hold the error message, in order of preference."""
DEEPEST = 4
LONGEST = 10_000
"""Letters of a page or a sentence that are looked at; patterns take longer than a linear time."""


def _said(body: Any, depth: int) -> str:
    if isinstance(body, str):
        return _plain(body)
    if depth > DEEPEST:
        return ""
    if isinstance(body, list):
        return "; ".join(said for one in body[:3] if (said := _said(one, depth + 1)))
    if not isinstance(body, Mapping):
        return ""
    said = next((said for name in SAYING if (said := _said(body.get(name), depth + 1))), "")
    place = body.get("loc")
    about = ".".join(map(str, place)) if isinstance(place, list) else body.get("param")
    return f"{said} ({about})" if said and isinstance(about, str) and about and about not in said else said


def _plain(text: str) -> str:
    """The title of an HTML page, else its text; any other text unchanged. Reads `LONGEST` characters at most."""
    text = text[:LONGEST]
    if not re.search(r"<(!doctype|html|head|body|title|h1)\b", text, re.IGNORECASE):
        return text.strip()
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    body = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    words = title[1] if title and title[1].strip() else body
    return " ".join(html.unescape(words).split())


def redirect_reason(headers: Mapping[str, str]) -> str:
    """A message on where a server redirects to, without possible secrets in the URL."""
    try:
        to = urlsplit(headers.get("location", ""))
        address = f"{to.scheme}://{to.hostname}{f':{to.port}' if to.port else ''}{to.path}" if to.hostname else to.path
    except ValueError:
        address = ""
    return f"it redirects to {address or 'another address'}"


def text_of(content: Any) -> str:
    """The text of a message: a string as it is, or the text parts of a list joined, without the model's reasoning."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        if content.get("type", "text") not in ("text", "output_text") or content.get("thought"):
            return ""
        text = content.get("text")
        return text_of(text.get("value") if isinstance(text, Mapping) else text)
    return "".join(text_of(part) for part in content) if isinstance(content, list | tuple) else ""


def tokens_of(value: Any) -> int:
    """A token count given as a number or as text; 0 for anything else."""
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return 0
