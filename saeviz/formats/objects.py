"""A folder of an object store, `s3://` or `gs://`, by fsspec: whole objects are written, listed, read and removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from saeviz.values.errors import ConfigError, PluginError, RunDirError

FORMS = "s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
_URL = re.compile(r"(?P<scheme>s3|gs)://(?P<root>[^/\s?#*\[\]]+(/[^\s?#*\[\]]*)?)")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
"""What services say when an object is there already."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}


def is_address(place: object) -> bool:
    """Whether a text is meant as the address of an object store."""
    return isinstance(place, str) and place.startswith(tuple(f"{scheme}://" for scheme in _PACKAGES))


def check_url(url: str) -> str:
    """The address without a slash at its end. Raises `ValueError` unless it is one of `FORMS`."""
    if not _URL.fullmatch(url):
        raise ValueError(f"it is not the address of an object store; write {FORMS}")
    return url.rstrip("/")


class Surroundings(Protocol):
    """What is needed of a context: whose credentials, and whether the network may be used."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables with the credentials."""
        ...

    @property
    def offline(self) -> bool:
        """Whether only this machine may be contacted."""
        ...

    @property
    def why_offline(self) -> str:
        """For messages."""
        ...


@dataclass(frozen=True)
class Own:
    """Those of a run of one's own."""

    offline: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    why_offline: str = "run.offline is set"

    def __reduce__(self) -> tuple[Any, ...]:
        """For workers, who take credentials from their own environment."""
        return Own, (self.offline,)


class Objects:
    """The objects below an address; their keys are paths that begin with the bucket.

    Credentials come from the environment of the context, or, in a run of one's own, from wherever the clients of the
    services look for them. Nothing is contacted before the first use.
    """

    def __init__(self, url: str, context: Surroundings) -> None:
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

    def __getstate__(self) -> dict[str, Any]:
        """For workers, who contact the service themselves."""
        return {name: value for name, value in vars(self).items() if name != "_service"}

    def sizes(self, folder: str, prefix: str = "") -> dict[str, int]:
        """The objects below a folder, sorted by key, with their sizes in bytes; `prefix` is how their names begin."""
        with self._explained("listed"):
            found = self._service.find(folder, detail=True, refresh=True, **({"prefix": prefix} if prefix else {}))
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

    def create(self, key: str, content: bytes) -> bool:
        """Make an object unless there is one already, also by another machine at the same time; returns whether."""
        with self._explained("written"):
            try:
                self._service.pipe_file(key, content, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if any(code in str(error.__cause__) for code in _TAKEN):
                    return False
                raise
        return True

    def fetch(self, key: str, path: Path) -> bool:
        """Write the content of an object to a file; returns whether there is the object."""
        with self._explained("read"):
            try:
                self._service.get_file(key, str(path))
            except FileNotFoundError:
                return False
        return True

    def modified(self, key: str) -> float:
        """When an object was written last, in seconds since 1970, by the clock of the service."""
        with self._explained("read"):
            return float(self._service.modified(key).timestamp())

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
        except _failures(self.scheme) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            step = ""
            if isinstance(error, PermissionError):
                step = "; check the credentials and their rights to the bucket"
            elif isinstance(error, FileNotFoundError):
                step = "; does the bucket exist?"
            raise RunDirError(f"{self.url} cannot be {doing}: {reason}{step}") from error


def _failures(scheme: str) -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = [OSError]
    with suppress(ImportError):
        from botocore.exceptions import BotoCoreError, ClientError

        found += [BotoCoreError, ClientError]
    with suppress(ImportError):
        from botocore.parsers import ResponseParserError

        found += [ResponseParserError]
    with suppress(ImportError):
        from aiohttp import ClientError as BrokenLinkError

        found += [BrokenLinkError]
    if scheme == "gs":
        with suppress(ImportError):
            from gcsfs.retry import HttpError

            # the others for a request that the service does not understand, and for an answer without a status
            found += [HttpError, ValueError, RuntimeError]
    with suppress(ImportError):
        from google.auth.exceptions import GoogleAuthError

        found += [GoogleAuthError]
    return tuple(found)
