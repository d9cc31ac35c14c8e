"""Requests with retries; a refused key is reported at once."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import saeviz
from saeviz.toolkit.bounded import EndlessError, within
from saeviz.toolkit.retrying import NotNowError, Retries, may_pass, seconds_to_wait

if TYPE_CHECKING:
    import httpx

TRIES = 6
FIRST_DELAY = 0.5
"""Seconds before the second try, roughly; each further wait is twice as long."""
LONGEST_DELAY = 60.0
LONGEST_ANSWER = 600.0
"""Longest time for a response in seconds, from first to last byte."""
MOST_BYTES = 256 * 2**20
"""Largest response in bytes, decompressed."""


class RetryingTransport:
    """An httpx transport around another one; every request that saeviz makes may be made twice.

    `clean` takes secrets out of what a server says. What is still refused after the last try raises `SaevizError`, a
    key that the project does not know `ConfigError`.
    """

    def __init__(
        self, inner: httpx.BaseTransport, place: str, logger: logging.Logger, clean: Callable[[str], str]
    ) -> None:
        self._inner = inner
        self._clean = clean
        self._place = place
        self._logger = logger

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The complete response. Raises `SaevizError` if there is none."""
        try:
            return Retries(TRIES, FIRST_DELAY, LONGEST_DELAY)(lambda: self._try(request), self._note)
        except NotNowError as error:
            raise saeviz.SaevizError(
                f"{self._place}: {error}, after {error.tries} tries; run again later; finished work is kept"
            ) from error

    def _note(self, error: NotNowError, seconds: float) -> None:
        self._logger.info("supabase: %s; trying again in %.1f s", error, seconds)

    def _try(self, request: httpx.Request) -> httpx.Response:
        """The response to one attempt; raises `NotNowError` where another may help."""
        import httpx

        host = request.url.host
        try:
            head = within(LONGEST_ANSWER, lambda: self._inner.handle_request(request))
            response = self._whole(head, request)
        except EndlessError as error:
            raise saeviz.SaevizError(f"{self._place}: {error}") from None
        except (
            httpx.TimeoutException,
            httpx.NetworkError,
            httpx.ProxyError,
            httpx.RemoteProtocolError,
            httpx.DecodingError,
        ) as error:
            raise NotNowError(f"{host} cannot be reached ({type(error).__name__}: {error})") from error
        if may_pass(response.status_code):
            wait = min(LONGEST_DELAY, seconds_to_wait(response.headers) or 0.0)
            said = f"{host} answers with status {response.status_code}{self._message(response)}"
            raise NotNowError(said, wait)
        self._refuse_unknown_keys(response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _whole(self, response: httpx.Response, request: httpx.Request) -> httpx.Response:
        """The response with its whole body, decompressed; raises `SaevizError` if it is too long or slow."""
        import httpx

        parts, size, end = [], 0, time.monotonic() + LONGEST_ANSWER
        try:
            for part in response.iter_bytes(2**16):
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise saeviz.SaevizError(f"{self._place}: a response has more than {MOST_BYTES >> 20} MiB")
                if time.monotonic() > end:
                    raise saeviz.SaevizError(f"{self._place}: a response was not finished after {LONGEST_ANSWER:g} s")
        finally:
            response.close()
        about_the_body = ("content-encoding", "content-length", "transfer-encoding")
        headers = [pair for pair in response.headers.multi_items() if pair[0].lower() not in about_the_body]
        return httpx.Response(
            response.status_code,
            headers=headers,
            content=b"".join(parts),
            request=request,
            extensions={name: value for name, value in response.extensions.items() if name != "network_stream"},
        )

    def _message(self, response: httpx.Response) -> str:
        message = _body(response).get("message")
        return f" ({self._clean(message)})" if isinstance(message, str) else ""

    def _refuse_unknown_keys(self, response: httpx.Response) -> None:
        # Refusals by the gateway have no code; those by the database have one and are reported elsewhere.
        if response.status_code == 401 and not _body(response).get("code"):
            raise saeviz.ConfigError(
                f"{self._place}.key: the project refuses the key{self._message(response)}; look at its API "
                "settings and at the environment variable that holds the key"
            )


def _body(response: httpx.Response) -> dict[str, object]:
    try:
        found = json.loads(response.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
