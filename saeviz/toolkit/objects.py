"""A folder of an object store, `s3://` or `gs://`, by fsspec: whole objects are written, listed, read and removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from saeviz.contract.context import Context
from saeviz.values.errors import ConfigError, PluginError, RunDirError

FORMS = "s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
_URL = re.compile(r"(?P<scheme>s3|gs)://(?P<root>[^/\s?#]+(/[^\s?#]*)?)")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}


def check_url(url: str) -> str:
    """The address without a slash at its end. Raises `ValueError` unless it is one of `FORMS`."""
    if not _URL.fullmatch(url):
        raise ValueError(f"it is not the address of an object store; write {FORMS}")
    return url.rstrip("/")


class Objects:
    """The objects below an address; their keys are paths that begin with the bucket.

    Credentials come from the environment of the context, or, in a run of one's own, from wherever the clients of the
    services look for them. Nothing is contacted before the first use.
    """

    def __init__(self, url: str, context: Context) -> None:
        match = _URL.fullmatch(check_url(url))
        assert match is not None  # noqa: S101 - it was checked
        self.url = url
        self.scheme, self.root = match["scheme"], match["root"].rstrip("/")
        self._context = context
        package = _PACKAGES[self.scheme]
        if find_spec(package) is None:
            raise PluginError(f"{url} needs {package}, which is not installed: pip install 'saeviz[cloud]'")
        if context.offline and not self._is_here:
            raise ConfigError(f"{url} is on the network; {context.why_offline}")

    def sizes(self, folder: str) -> dict[str, int]:
        """The objects below a folder, sorted by key, with their sizes in bytes."""
        with self._explained("listed"):
            found = self._service.find(folder, detail=True, refresh=True)
        return {key: int(entry["size"]) for key, entry in sorted(found.items())}

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The content of these objects, several at a time; those that are not there are left out."""
        with self._explained("read"):
            found: Any = self._service.cat(list(keys), on_error="return") if keys else {}
            for content in found.values():
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {key: content for key, content in found.items() if isinstance(content, bytes)}

    def write(self, key: str, content: bytes | Path) -> None:
        """Make or replace an object, by its content or by the file that has it. It is there whole or not at all."""
        with self._explained("written"):
            if isinstance(content, Path):
                self._service.put_file(str(content), key)
            else:
                self._service.pipe_file(key, content)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; one that is not there does no harm."""
        with self._explained("removed"):
            for key in keys:
                with suppress(FileNotFoundError):
                    self._service.rm_file(key)

    @property
    def _endpoint(self) -> str:
        environment = self._context.environment
        return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")

    @property
    def _is_here(self) -> bool:
        host = urlsplit(self._endpoint).hostname if self.scheme == "s3" else None
        try:
            return host == "localhost" or ip_address(host or "").is_loopback
        except ValueError:
            return False

    @cached_property
    def _service(self) -> Any:
        import fsspec

        with self._explained("opened"):
            return fsspec.filesystem(self.scheme, use_listings_cache=False, **self._credentials())

    def _credentials(self) -> Mapping[str, Any]:
        """In somebody else's run, those that the reader allows, or none."""
        environment = self._context.environment
        endpoint = {"endpoint_url": self._endpoint} if self.scheme == "s3" and self._endpoint else {}
        if environment is os.environ:
            return endpoint
        if self.scheme == "gs":
            return {"token": environment.get("GOOGLE_APPLICATION_CREDENTIALS") or "anon"}
        if not environment.get("AWS_ACCESS_KEY_ID"):
            return {"anon": True, **endpoint}
        names = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
        return {**{name: environment.get(variable) for name, variable in names.items()}, **endpoint}

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """What the service or its client says against it, as a `RunDirError`."""
        try:
            yield
        except _failures() as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            step = ""
            if isinstance(error, PermissionError):
                step = "; check the credentials and their rights to the bucket"
            elif isinstance(error, FileNotFoundError):
                step = "; does the bucket exist?"
            raise RunDirError(f"{self.url} cannot be {doing}: {reason}{step}") from error


def _failures() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [OSError]
    with suppress(ImportError):
        from botocore.exceptions import BotoCoreError, ClientError

        found += [BotoCoreError, ClientError]
    with suppress(ImportError):
        from google.auth.exceptions import GoogleAuthError

        found += [GoogleAuthError]
    return tuple(found)
