"""A Supabase project: its client, and its errors as sentences that hold no key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

import saeviz
from saeviz_supabase import is_project_url
from saeviz_supabase.transport import RetryingTransport

if TYPE_CHECKING:
    import httpx
    from supabase import Client

    from saeviz_supabase import ProjectOptions

Record = dict[str, Any]

TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_NO_TABLE = {"PGRST205", "42P01"}
_NEXT_STEP = {
    "42501": "the role of the key has no grant, or a policy of row-level security refuses; use the project's secret "
    "key, or the access token of a user who may",
    "PGRST301": "the access token is not valid in this project",
    "PGRST302": "an access token is needed",
    "PGRST303": "the access token has expired or is not for this project; sign in again",
    "54000": "an item id has more than the 2,600 bytes or so that PostgreSQL can index",
    "57014": "the statement took longer than the project allows; raise statement_timeout for the role",
}


class Project:
    """The project that the options or the environment name. `place` is how the user calls it, for instance `store`.

    Nothing is asked before the first use. `missing_table` says what to do where a table is not there.
    """

    def __init__(self, place: str, options: ProjectOptions, context: saeviz.Context, missing_table: str) -> None:
        self.place = place
        self._context = context
        self._missing_table = missing_table
        self._options = options

    def records(self, query: Any) -> list[Record]:
        """What a query of the client gives, an empty list where it gives nothing back."""
        with self._explained():
            data = query.execute().data
        if not isinstance(data, list):
            raise saeviz.SaevizError(f"{self.place}.url: {self.url} does not answer like a Supabase project")
        return data

    def download(self, bucket: str, path: str) -> bytes | None:
        """A file of a storage bucket, None where it is not there."""
        from storage3.exceptions import StorageApiError

        with self._explained():
            try:
                # The client takes %20 in a path for a space.
                return bytes(self.client.storage.from_(bucket).download(path.replace("%", "%25")))
            except StorageApiError as error:
                if str(error.status) == "404" and "bucket" not in error.message.lower():
                    return None
                raise saeviz.SaevizError(
                    f"{self.place}.bucket: {bucket}: {self._without_secrets(error.message)}"
                ) from None

    def close(self) -> None:
        """Close the connections."""
        client: Client | None = self.__dict__.pop("client", None)
        if client is not None:
            self.__dict__.pop("_http").close()

    @cached_property
    def client(self) -> Client:
        """The client; made on first use."""
        if self._context.offline:
            raise saeviz.ConfigError(f"{self.place}: supabase needs the network, and {self._context.why_offline}")
        from supabase import ClientOptions, create_client

        url, key, token = self.url, self._secrets[0], self._secrets[1]
        headers = {"Authorization": f"Bearer {token or key}"}
        options = ClientOptions(
            headers=headers, auto_refresh_token=False, persist_session=False, httpx_client=self._http
        )
        return create_client(url, key, options)

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx

        # A redirect would take the key to another host.
        transport = RetryingTransport(httpx.HTTPTransport(), self.place, self._context.logger, self._without_secrets)
        timeout = httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        return httpx.Client(transport=cast("httpx.BaseTransport", transport), timeout=timeout, follow_redirects=False)

    @cached_property
    def url(self) -> str:
        """Its address."""
        given = self._options.url or os.environ.get("SUPABASE_URL", "")
        if not given:
            raise saeviz.ConfigError(f"{self.place}.url: no project; set url or the environment variable SUPABASE_URL")
        if not is_project_url(given):
            raise saeviz.ConfigError(f"{self.place}.url: write the project's URL, https://PROJECT.supabase.co")
        parts = urlsplit(given)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            self._context.logger.warning(
                "%s.url: the key goes to %s unencrypted; use https", self.place, parts.hostname
            )
        return given

    @cached_property
    def _secrets(self) -> tuple[str, str]:
        """The key and the access token; '' if not given."""
        options = self._options
        key = self._secret(options.key, "SUPABASE_KEY", "key")
        if not key:
            raise saeviz.ConfigError(
                f"{self.place}.key: set the environment variable SUPABASE_KEY, or name another one: "
                'key = { env = "VARIABLE" }'
            )
        return key, self._secret(options.access_token, "SUPABASE_ACCESS_TOKEN", "access_token")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the project's database into readable ones, without the client's traceback."""
        from postgrest.exceptions import APIError

        try:
            yield
        except APIError as error:
            code, message = str(error.code), self._without_secrets(error.message or "no reason is given")
            if code in _NO_TABLE:
                raise saeviz.ConfigError(f"{self.place}: {message}; {self._missing_table}") from None
            step = _NEXT_STEP.get(code)
            raise saeviz.SaevizError(
                f"{self.place}: supabase says: {message} ({code})" + (f"; {step}" if step else "")
            ) from None

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***") if secret else text
        return text

    def _secret(self, given: SecretStr | None, variable: str, option: str) -> str:
        found = (given.get_secret_value() if given else self._context.environment.get(variable, "")).strip()
        if not re.fullmatch(r"[\x21-\x7e]*", found):
            raise saeviz.ConfigError(
                f"{self.place}.{option}: it holds spaces or signs that no key has; was it copied whole?"
            )
        return found
