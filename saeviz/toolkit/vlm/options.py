"""What all labelers of a web service can be told, and the key they need."""

from __future__ import annotations

import os
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from saeviz.contract.options import NEUTRAL, Options
from saeviz.values.errors import ConfigError

if TYPE_CHECKING:
    from saeviz.contract.context import Context

NO_KEY = "none"
"""Sent where a server of one's own wants no key; the client libraries insist on one."""


class VLMOptions(Options):
    """Options that the labelers of web services share."""

    key_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables that hold the key where `api_key` does not say which, the first that is set counts."""

    model: str = Field(min_length=1, description="name of the model")
    api_key: SecretStr | None = Field(None, description="API key, given as { env = 'VARIABLE' }", **NEUTRAL)
    base_url: str | None = Field(
        None,
        description="address of another server with the same protocol; the key of the environment is not sent there, "
        "only one named by api_key",
    )
    top_images: int = Field(9, ge=1, le=50, description="number of most activating images to send")
    contrast_images: int = Field(0, ge=0, le=9, description="number of images to send on which the feature is silent")
    heatmaps: bool = Field(False, description="also send each top image with its heatmap")
    image_size: int = Field(512, ge=64, le=2048, description="longer side of the images sent, in pixels")
    max_output_tokens: int | None = Field(
        None,
        ge=64,
        le=1_000_000,
        description="maximum tokens of one answer, including the model's reasoning; default: that of the model",
    )
    concurrency: int = Field(4, ge=1, le=64, description="maximum number of concurrent requests", **NEUTRAL)
    requests_per_minute: float | None = Field(
        None, gt=0, le=100_000, description="maximum number of requests per minute", **NEUTRAL
    )
    timeout: float = Field(90.0, gt=0, le=86_400, description="seconds to wait for one response", **NEUTRAL)
    max_retries: int = Field(
        5, ge=0, le=100, description="how often to retry when the service is busy or fails", **NEUTRAL
    )
    max_calls: int | None = Field(
        None,
        ge=0,
        le=1_000_000_000,
        description="budget: total number of paid requests in this run directory",
        **NEUTRAL,
    )
    max_tokens: int | None = Field(
        None,
        ge=0,
        le=1_000_000_000_000,
        description="budget: total number of tokens sent and received in this run directory",
        **NEUTRAL,
    )

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write an address such as http://localhost:11434/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("leave out user, password and everything after ?; a key belongs in api_key")
        return url

    def package(self) -> tuple[str, str]:
        """The module that has to be installed, and what to `pip install` for it."""
        raise NotImplementedError

    def key(self, option: str = "api_key") -> SecretStr | None:
        """The key: of `api_key`, else of the environment unless there is a `base_url`; None where there is none.

        Raises `ConfigError`, which names the `option`, for one that no service can have given.
        """
        if self.api_key is not None:
            return _checked(self.api_key.get_secret_value(), f"{option}: the key")
        if self.base_url is None:
            for name in self.key_variables:
                if value := os.environ.get(name, "").strip():
                    return _checked(value, f"{option}: the key in {name}")
        return None

    def check_ready(self, context: Context) -> None:
        """Raise `ConfigError` where the package or the key is missing, or the run is offline."""
        if context.offline and not self._is_local:
            raise ConfigError(
                "run.offline: this labeler uses a web service; remove run.offline, use a server on this machine "
                f"({context.option('base_url')}), or use the labeler clip-vocabulary or metadata-terms"
            )
        module, install = self.package()
        if not _is_installed(module):
            raise ConfigError(
                f"{context.place or 'labeler'}: it needs {module}, which is not installed: pip install '{install}'"
            )
        option = context.option("api_key")
        if self.key(option) is None and self.base_url is None:
            raise ConfigError(
                f"{option}: there is no key; set the environment variable {' or '.join(self.key_variables)}, "
                'or name another one: api_key = { env = "VARIABLE" }'
            )

    def sent_key(self) -> str:
        """What the client library is given: the key, or `NO_KEY` for a server that wants none."""
        key = self.key()
        return key.get_secret_value() if key else NO_KEY

    @property
    def _is_local(self) -> bool:
        host = urlsplit(self.base_url or "").hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def _checked(text: str, what: str) -> SecretStr:
    """A key with a line break in it would be quoted in the error messages of HTTP libraries."""
    text = text.strip()
    if not text or not all("!" <= letter <= "~" for letter in text):
        raise ConfigError(f"{what} is empty or contains characters that no key has, such as a line break")
    return SecretStr(text)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
