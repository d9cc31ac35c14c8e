"""One attempt to fetch one URL: follow redirects hop by hop, each to an address that has been checked."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from io import BytesIO
from threading import Event, Timer
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urljoin

from saeviz.toolkit.fetch.addresses import addresses_of
from saeviz.toolkit.fetch.errors import RefusedError, TransientError
from saeviz.toolkit.fetch.urls import redacted
from saeviz.toolkit.retrying import may_pass, seconds_to_wait

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection
    from urllib3.response import HTTPResponse
    from urllib3.util import Url

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
CHUNK = 1 << 16
ENDED = "the run has ended"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOT_TOLD = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""Content types that say nothing about the content."""


@dataclass(frozen=True)
class Kind:
    """What is fetched: its name in messages, what is asked for, and how its content types begin."""

    what: str
    accept: str
    content_types: tuple[str, ...]


IMAGE = Kind("an image", "image/*", ("image/",))
TAR = Kind("a tar file", "*/*", ("application/", "multipart/"))


@dataclass(frozen=True)
class Limits:
    """Limits of one attempt, which ends early when `stop` is set."""

    seconds: float
    n_bytes: int
    redirects: int
    allow_private: bool
    stop: Event


def get(url: str, limits: Limits) -> bytes:
    """The image at the URL. Raises `RefusedError` or `TransientError`."""
    body = BytesIO()
    save(url, limits, IMAGE, body)
    return body.getvalue()


def save(url: str, limits: Limits, kind: Kind, into: BinaryIO) -> None:
    """Write the content of the URL. Raises `RefusedError` or `TransientError`, after which a part may be written."""
    deadline = time.monotonic() + limits.seconds
    for _ in range(limits.redirects + 1):
        moved = _ask(url, deadline, limits, kind, into)
        if moved is None:
            return
        url = moved
    raise RefusedError(f"more than {limits.redirects} redirects")


def _ask(url: str, deadline: float, limits: Limits, kind: Kind, into: BinaryIO) -> str | None:
    """One request, whose body is written; the URL if it redirects."""
    from urllib3.exceptions import HTTPError

    target = _parse(url)
    try:
        with _connection(target, deadline, limits) as connection, _cut_off_at(deadline, connection):
            headers = {**_headers(target), "Accept": kind.accept}
            connection.request("GET", target.request_uri, headers=headers, preload_content=False, decode_content=False)
            return _answer(connection.getresponse(), url, limits, kind, into)
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(f"its certificate is not trusted: {error.verify_message}") from None
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        # The messages of these may quote the URL and its secrets.
        if time.monotonic() >= deadline:
            raise TransientError(f"fetching it takes longer than {limits.seconds:g} s") from None
        raise TransientError(f"the connection failed ({_reason(error)})") from None


def _parse(url: str) -> Url:
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        target = parse_url(url)
    except LocationParseError:
        raise RefusedError("not a valid URL") from None
    if target.scheme not in ("http", "https"):
        raise RefusedError("only http and https URLs are fetched")
    if not target.host:
        raise RefusedError("the URL has no host")
    return target


@contextmanager
def _connection(target: Url, deadline: float, limits: Limits) -> Iterator[HTTPConnection]:
    """A connection to the first of the host's checked addresses that answers."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import HTTPError

    host = str(target.host).strip("[]")
    port = target.port or (443 if target.scheme == "https" else 80)
    failure: Exception = TimeoutError()
    seconds = min(CONNECT_SECONDS, deadline - time.monotonic())
    for address in addresses_of(host, port, allow_private=limits.allow_private, seconds=seconds):
        seconds = min(CONNECT_SECONDS, deadline - time.monotonic())
        if seconds <= 0 or limits.stop.is_set():
            break
        connection: HTTPConnection
        if target.scheme == "https":
            connection = HTTPSConnection(
                address, port, timeout=seconds, cert_reqs="CERT_REQUIRED", server_hostname=host
            )
        else:
            connection = HTTPConnection(address, port, timeout=seconds)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError:
            connection.close()
            raise
        except (HTTPError, OSError) as error:
            connection.close()
            failure = error
            continue
        connection.timeout = min(READ_SECONDS, max(deadline - time.monotonic(), 0.001))
        try:
            yield connection
        finally:
            connection.close()
        return
    raise failure


@contextmanager
def _cut_off_at(deadline: float, connection: HTTPConnection) -> Iterator[None]:
    """Close the connection at the deadline: a server that sends a byte now and then never hits the read time-out."""
    timer = Timer(max(deadline - time.monotonic(), 0), _shut, [connection.sock])
    timer.daemon = True
    timer.start()
    try:
        yield
        if time.monotonic() >= deadline:
            raise TimeoutError
    finally:
        timer.cancel()


def _shut(connected: socket.socket) -> None:
    with suppress(OSError, ValueError):
        connected.shutdown(socket.SHUT_RDWR)


def _headers(target: Url) -> dict[str, str]:
    from urllib3.util import make_headers

    headers = {
        "Host": target.netloc or "",
        "User-Agent": f"saeviz/{version('saeviz')}",
        "Accept-Encoding": "identity",
    }
    return {**headers, **(make_headers(basic_auth=unquote(target.auth)) if target.auth else {})}


def _answer(response: HTTPResponse, url: str, limits: Limits, kind: Kind, into: BinaryIO) -> str | None:
    headers = response.headers
    if response.status in REDIRECTS and headers.get("Location"):
        return urljoin(url, headers["Location"])
    if may_pass(response.status):
        raise TransientError(f"the server answers {response.status}", seconds_to_wait(headers))
    if response.status != 200:
        raise RefusedError(f"the server answers {response.status}")
    sent = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not (sent.startswith(kind.content_types) or sent in NOT_TOLD):
        raise RefusedError(f"the server sends {sent[:40]!r}, not {kind.what}")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError("the server sent compressed data, although asked not to")
    _write(response, limits, into)
    return None


def _write(response: HTTPResponse, limits: Limits, into: BinaryIO) -> None:
    too_large = f"it is larger than images.max_megabytes = {limits.n_bytes / 1e6:g}"
    if response.length_remaining is not None and response.length_remaining > limits.n_bytes:
        raise RefusedError(too_large)
    size = 0
    for chunk in response.stream(CHUNK, decode_content=False):
        size += len(chunk)
        if size > limits.n_bytes:
            raise RefusedError(too_large)
        if limits.stop.is_set():
            raise RefusedError(ENDED)
        into.write(chunk)


def _reason(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or type(error).__name__


def _without_secrets(record: logging.LogRecord) -> bool:
    """A log filter: urllib3's warning about malformed headers quotes the URL; keep only the address and error type."""
    if isinstance(record.args, tuple):
        record.args = tuple(redacted(arg) if isinstance(arg, str) else type(arg).__name__ for arg in record.args)
        record.exc_info = None
    return True


logging.getLogger("urllib3.connection").addFilter(_without_secrets)
