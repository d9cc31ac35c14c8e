"""Options shared by labelers that use a web service, and their API key."""

from __future__ import annotations

import os
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from saeviz.contract.options import NEUTRAL, Options
from saeviz.values.errors import ConfigError

if TYPE_CHECKING:
    from saeviz.contract.context import Context

NO_KEY = "none"
"""Sent to servers that need no key, because client libraries insist on one."""


class VLMOptions(Options):
    """Options shared by labelers that use a web service."""

    key_variables: ClassVar[tuple[str, ...]] = ()
    """Environment variables to look for the key in if `api_key` is not given; the first one that is set counts."""

    model: str = Field(min_length=1, description="name of the model")
    api_key: Annotated[SecretStr | None, NEUTRAL] = Field(
        default=None, description="API key, given as { env = 'VARIABLE' }"
    )
    base_url: str | None = Field(
        default=None,
        description="address of another server with the same protocol; it is not sent a key from the environment, "
        "only one named by api_key",
    )
    top_images: int = Field(default=9, ge=1, le=50, description="number of most activating images to send")
    contrast_images: int = Field(default=0, ge=0, le=9, description="number of images without the feature to send")
    heatmaps: bool = Field(default=False, description="also send each top image with its heatmap")
    image_size: int = Field(default=512, ge=64, le=2048, description="longer side of the images sent, in pixels")
    max_output_tokens: int | None = Field(
        default=None,
        ge=64,
        le=1_000_000,
        description="maximum tokens of one answer, including the model's reasoning; default: the model's own limit",
    )
    concurrency: Annotated[int, NEUTRAL] = Field(
        default=4, ge=1, le=64, description="maximum number of concurrent requests"
    )
    requests_per_minute: Annotated[float | None, NEUTRAL] = Field(
        default=None, gt=0, le=100_000, description="maximum number of requests per minute"
    )
    timeout: Annotated[float, NEUTRAL] = Field(
        default=90.0, gt=0, le=86_400, description="seconds to wait for one response"
    )
    max_retries: Annotated[int, NEUTRAL] = Field(
        default=5, ge=0, le=100, description="how often to retry when the service is busy or fails"
    )
    max_calls: Annotated[int | None, NEUTRAL] = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="budget: total number of paid requests in this run directory",
    )
    max_tokens: Annotated[int | None, NEUTRAL] = Field(
        default=None,
        ge=0,
        le=1_000_000_000_000,
        description="budget: total number of tokens sent and received in this run directory",
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
            raise ValueError("remove user, password and everything after ?; a key belongs in api_key")
        return url

    def package(self) -> tuple[str, str]:
        """The Python module that is required, and what to `pip install` to get it."""
        raise NotImplementedError

    def key(self, option: str = "api_key") -> SecretStr | None:
        """The key from `api_key`, else from the environment unless `base_url` is set; None if there is none.

        Raises `ConfigError`, naming `option`, if the key is empty or contains characters such as a line break.
        """
        if self.api_key is not None:
            return _checked(self.api_key.get_secret_value(), f"{option}: the key")
        if self.base_url is None:
            for name in self.key_variables:
                if value := os.environ.get(name, "").strip():
                    return _checked(value, f"{option}: the key in {name}")
        return None

    def check_ready(self, context: Context) -> None:
        """Raise `ConfigError` if the package or the key is missing, or the run is offline."""
        if context.offline and not self._is_local:
            raise ConfigError(
                "run.offline: this labeler uses a web service; remove run.offline, use a server on this machine "
                f"({context.option('base_url')}), or use the labeler clip-vocabulary or metadata-terms"
            )
        module, install = self.package()
        if not _is_installed(module):
            raise ConfigError(
                f"{context.place or 'labeler'}: {module} is required but not installed: pip install '{install}'"
            )
        option = context.option("api_key")
        if self.key(option) is None and self.base_url is None:
            raise ConfigError(
                f"{option}: no key found; set the environment variable {' or '.join(self.key_variables)}, "
                'or name another one: api_key = { env = "VARIABLE" }'
            )

    def sent_key(self) -> str:
        """The key to pass to the client library, or `NO_KEY` for a server that needs none."""
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
    """Reject a malformed key: HTTP libraries would quote one with a line break in their error messages."""
    text = text.strip()
    if not text or not all("!" <= letter <= "~" for letter in text):
        raise ConfigError(f"{what} is empty or contains characters that no key contains, such as a line break")
    return SecretStr(text)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
