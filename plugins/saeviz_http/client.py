"""Requests to a saeviz service, with retries and readable errors."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import saeviz
from saeviz.toolkit.bounded import EndlessError, within
from saeviz.toolkit.retrying import NotNowError, Retries, may_pass, seconds_to_wait

if TYPE_CHECKING:
    import httpx

    from saeviz_http import HttpOptions

VERSION = 1
MOST_BYTES = 256 * 2**20
"""Reading stops beyond this size of a response."""
MOST_ITEMS = 100_000_000
"""Most items in a paged list."""
PATIENCE = 10
"""A response may take at most this many times the time-out in all."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 30.0
"""Seconds; each pause is about twice as long as the one before."""


class Refused(saeviz.DataError):
    """The service refused the request as wrong."""


class Client:
    """One service. `place` is how messages call the component, for instance `store`.

    Every request is idempotent, so all are retried after temporary failures. May be used by several threads. Raises
    `ConfigError` if the user has to change something, `DataError` if the service refuses the data, cannot be reached
    or sends an invalid response.
    """

    def __init__(self, options: HttpOptions, context: saeviz.Context, place: str) -> None:
        self.url = options.url
        self.place = place
        self._options = options
        self._logger = context.logger
        host = urlsplit(self.url).hostname or ""
        self._is_here = _is_loopback(host)
        if context.offline and not self._is_here:
            raise saeviz.ConfigError(f"{place}.url: {self.url} is on the network; {context.why_offline}")
        if options.token is not None and self.url.startswith("http:") and not self._is_here:
            self._logger.warning("%s.url: the token is sent to %s unencrypted; use https", place, host)

    def get(self, path: str, **parameters: str | int) -> Any:
        """The JSON object at a path, or None if it does not exist."""
        status, body = self._request("GET", path, parameters)
        return None if status == 404 else self._json(body)

    def get_bytes(self, path: str, **parameters: str | int) -> bytes | None:
        """The file at a path, or None if it does not exist."""
        status, body = self._request("GET", path, parameters)
        return None if status == 404 else body

    def send(self, method: str, path: str, body: bytes | Mapping[str, Any] = b"", **parameters: str | int) -> bytes:
        """The response to a body (a mapping is sent as JSON); raises if the path does not exist."""
        status, found = self._request(method, path, parameters, body if isinstance(body, bytes) else _encoded(body))
        if status == 404:
            raise saeviz.ConfigError(f"{self.place}.url: {self.url}: {self._reason(found)}")
        return found

    def nonsense(self, about: object) -> saeviz.DataError:
        """The error for a response that does not follow the protocol."""
        return saeviz.DataError(f"{self.place}: {self.url} sent an invalid response: {about}")

    def needs(self, what: str) -> None:
        """Raise `ConfigError` unless the service offers `what`, in a protocol version known here."""
        found = self._description
        if not found.get(what):
            raise saeviz.ConfigError(f"{self.place}.url: the service at {self.url} has no {what}")

    @cached_property
    def most_bytes(self) -> int:
        """Largest size of a request in bytes."""
        limits = self._description.get("limits")
        found = limits.get("bytes") if isinstance(limits, dict) else None
        return found if isinstance(found, int) and found > 0 else 2**20

    def close(self) -> None:
        """Close the connections; another request opens one again."""
        if "_http" in self.__dict__:
            self.__dict__.pop("_http").close()

    @cached_property
    def _description(self) -> Mapping[str, Any]:
        status, body = self._request("GET", "/", {})
        try:
            found = json.loads(body) if status == 200 else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.get("service") != "saeviz":
            raise saeviz.ConfigError(f"{self.place}.url: what answers at {self.url} is not a saeviz service")
        versions = found.get("versions")
        if not isinstance(versions, list) or VERSION not in versions:
            raise saeviz.ConfigError(
                f"{self.place}.url: the service at {self.url} uses protocol version {versions}, this saeviz "
                f"version {VERSION}; upgrade the older one"
            )
        return found

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        token = self._options.token
        # Uncompressed, a response cannot become larger than what was sent.
        headers = {"Accept-Encoding": "identity"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        return httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(self._options.timeout, connect=min(10.0, self._options.timeout)),
            trust_env=not self._is_here,
        )

    def _request(
        self, method: str, path: str, parameters: Mapping[str, str | int], body: bytes = b""
    ) -> tuple[int, bytes]:
        """Status 2xx or 404 and the body; anything else is raised, after retries if it may be temporary."""
        retries = Retries(self._options.retries + 1, FIRST_PAUSE, LONGEST_PAUSE)
        try:
            status, found = retries(lambda: self._try(method, path, parameters, body), self._note)
        except NotNowError as error:
            tries = f" after {error.tries} tries" if error.tries > 1 else ""
            raise saeviz.DataError(
                f"{self.place}: {self.url} cannot be used{tries}: {error}; "
                "is `saeviz serve --api` running there? the same command resumes where it stopped"
            ) from None
        return self._checked(status, found)

    def _note(self, error: NotNowError, seconds: float) -> None:
        self._logger.info("%s: %s: %s; trying again in %.1f s", self.place, self.url, error, seconds)

    def _try(self, method: str, path: str, parameters: Mapping[str, str | int], body: bytes) -> tuple[int, bytes]:
        """Status and body of one attempt; raises `NotNowError` where another may help."""
        import httpx

        request = self._http.build_request(method, f"{self.url}{path}", params=dict(parameters), content=body)
        send = partial(self._http.send, request, stream=True)
        try:
            with closing(within(PATIENCE * self._options.timeout, send)) as response:
                found = self._limited(response)
        except EndlessError as error:
            raise self.nonsense(error) from None
        except httpx.TimeoutException:
            raise NotNowError("no answer in time") from None
        except httpx.TransportError as error:
            raise NotNowError(f"no connection ({str(error) or type(error).__name__})") from None
        if may_pass(response.status_code):
            wait = min(seconds_to_wait(response.headers) or 0.0, LONGEST_PAUSE)
            raise NotNowError(f"status {response.status_code}: {self._reason(found)}", wait)
        return response.status_code, found

    def _limited(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self.nonsense("compressed, although that was not requested")
        parts, size = [], 0
        end = time.monotonic() + PATIENCE * self._options.timeout
        for part in response.iter_raw():
            size += len(part)
            if time.monotonic() > end:
                raise self.nonsense(f"not finished after {PATIENCE * self._options.timeout:g} s")
            if size > MOST_BYTES:
                raise self.nonsense(f"more than {MOST_BYTES >> 20} MiB")
            parts.append(part)
        return b"".join(parts)

    def _checked(self, status: int, body: bytes) -> tuple[int, bytes]:
        if 200 <= status < 300 or status == 404:
            return status, body
        if status == 401:
            how = (
                "rejects this token" if self._options.token is not None else 'needs a token; give { env = "VARIABLE" }'
            )
            raise saeviz.ConfigError(f"{self.place}.token: the service at {self.url} {how}")
        if status in (301, 302, 303, 307, 308):
            raise saeviz.ConfigError(f"{self.place}.url: {self.url} redirects; give the final address")
        message = f"{self.place}: {self.url}: {self._reason(body)}"
        raise Refused(message) if status in (400, 413, 422) else saeviz.ConfigError(message)

    def _json(self, body: bytes) -> Any:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self.nonsense(error) from error
        if not isinstance(found, dict):
            raise self.nonsense("not a JSON object")
        return found

    def _reason(self, body: bytes) -> str:
        """The service's error message, shortened and without characters that a terminal would interpret."""
        try:
            said = json.loads(body)["error"]
        except (ValueError, LookupError, TypeError, RecursionError):
            said = body[:200].decode(errors="replace")
        return "".join(character if character.isprintable() else " " for character in str(said)[:500]) or "nothing else"


def pages(read: Callable[[int], Mapping[str, Any]], name: str, client: Client) -> Any:
    """All items of the list `name`, page by page; `read` gets the page that begins at a number."""
    start = 0
    while True:
        page = read(start)
        found, total = page.get(name), page.get("total")
        if not isinstance(found, list) or not isinstance(total, int):
            raise client.nonsense(f"no {name} and total")
        if not 0 <= total <= MOST_ITEMS:
            raise client.nonsense(f"more {name} than a list can have")
        yield from found
        start += len(found)
        if not found or start >= total:
            return


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
