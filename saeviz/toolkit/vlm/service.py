"""What passes between the labeler and a web service."""

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
    """A JPEG as it is sent."""

    jpeg: bytes = field(repr=False)


Part = str | Picture


class Extra(Enum):
    """A part of a question that can be left out or sent in another way; its value is what messages call it."""

    SCHEMA = "a JSON schema of the answer"
    LIMIT = "the usual name for the limit of tokens"
    SYSTEM = "instructions apart from the question"
    RESOLUTION = "a resolution of the images"


@dataclass(frozen=True)
class Question:
    """What is asked: standing `instructions`, then texts and pictures in order. The answer is JSON of the `schema`.

    `without` are the extras that the server refuses. Without `SYSTEM` the instructions stand before the parts.
    """

    instructions: str
    parts: Sequence[Part]
    schema: Mapping[str, Any]
    without: frozenset[Extra] = frozenset()

    def has(self, extra: Extra) -> bool:
        """Whether the server is to be sent this extra."""
        return extra not in self.without

    @property
    def apart(self) -> str:
        """The instructions where they are sent apart from the parts, else ''."""
        return self.instructions if self.has(Extra.SYSTEM) else ""

    @property
    def together(self) -> Sequence[Part]:
        """The parts, after the instructions where these are not sent apart."""
        return self.parts if self.has(Extra.SYSTEM) else [self.instructions, *self.parts]

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

    Services set 401 for any refused key and 402 for an empty account, whatever their own status is, and give the status
    of a redirect with `redirect_reason`: none is followed, as it would take key and images to another host. `wait`: the
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


@runtime_checkable
class AdaptableService(Service, Protocol):
    """A service that can leave extras out of a question; it is asked without those that the server refuses."""

    @property
    def extras(self) -> Collection[Extra]:
        """What it sends unless `Question.without` says otherwise."""
        ...


def http_reason(body: Any, default: str) -> str:
    """What a server says is wrong, from the body of its answer: JSON, decoded or not, plain text or a page of HTML.

    Known are `{"error": {"message": ...}}`, `{"error": "..."}`, `{"message": ...}`, and `{"detail": ...}` as FastAPI
    writes it. `default` where the body says nothing.
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
"""Names of what an error says, in the order in which they are looked for."""
DEEPEST = 4


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
    """A page's title, else its words; any other text as it is."""
    if not re.search(r"<(!doctype|html|head|body|title|h1)\b", text, re.IGNORECASE):
        return text.strip()
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    body = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    words = title[1] if title and title[1].strip() else body
    return " ".join(html.unescape(words).split())


def redirect_reason(headers: Mapping[str, str]) -> str:
    """Where a server redirects to, without what may be secret in it."""
    try:
        to = urlsplit(headers.get("location", ""))
        address = f"{to.scheme}://{to.hostname}{f':{to.port}' if to.port else ''}{to.path}" if to.hostname else to.path
    except ValueError:
        address = ""
    return f"it redirects to {address or 'another address'}"


def text_of(content: Any) -> str:
    """The words of a message: as they are, or those of the text parts of a list, a model's thoughts left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        if content.get("type", "text") not in ("text", "output_text") or content.get("thought"):
            return ""
        text = content.get("text")
        return text_of(text.get("value") if isinstance(text, Mapping) else text)
    return "".join(text_of(part) for part in content) if isinstance(content, list | tuple) else ""


def tokens_of(value: Any) -> int:
    """A count of tokens, given as a number or as text; 0 for anything else."""
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return 0
