"""A saeviz service elsewhere as feature store, image provider and embedding provider, all called `http`."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, SecretStr, field_validator

import saeviz


class HttpOptions(saeviz.Options):
    """Options of the components `http`."""

    url: str = Field(description="address of the service, as `saeviz serve --api` prints it")
    token: SecretStr | None = Field(None, description="bearer token of the service", **saeviz.NEUTRAL)
    timeout: float = Field(60.0, gt=0, le=86_400, description="seconds to wait for a response", **saeviz.NEUTRAL)
    retries: int = Field(
        5,
        ge=0,
        le=100,
        description="how often to retry after a time-out, 429 or 5xx, waiting longer each time",
        **saeviz.NEUTRAL,
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url)
            has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            has_host = False
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not has_host or parts.query or parts.fragment:
            raise ValueError("write http://HOST:PORT or https://HOST")
        if parts.username or parts.password:
            raise ValueError('do not write a password here; give token = { env = "VARIABLE" }')
        return url.rstrip("/")


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `http`."""
    yield saeviz.FeatureStoreSpec(
        name="http",
        summary="a store on another machine, where `saeviz serve --api` runs; exact",
        options=HttpOptions,
        factory="saeviz_http.store:HttpStore",
        needs=("httpx",),
        install="saeviz[http]",
    )


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The image provider `http`."""
    yield saeviz.ImageProviderSpec(
        name="http",
        summary="the images and ratings of a run on another machine, where `saeviz serve --api` runs",
        options=HttpOptions,
        factory="saeviz_http.images:HttpImages",
        needs=("httpx",),
        install="saeviz[http]",
    )


@saeviz.hookimpl
def saeviz_embedding_providers() -> Iterator[saeviz.EmbeddingProviderSpec]:
    """The embedding provider `http`."""
    yield saeviz.EmbeddingProviderSpec(
        name="http",
        summary="the embedding model of a run on another machine, where `saeviz serve --api` runs",
        options=HttpOptions,
        factory="saeviz_http.embeddings:HttpEmbeddings",
        needs=("httpx",),
        install="saeviz[http]",
    )
