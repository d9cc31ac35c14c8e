"""The store `supabase` and the image provider `supabase`: tables and files of a Supabase project."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

import saeviz
from saeviz.toolkit.column_options import ColumnOptions


class ProjectOptions(saeviz.Options):
    """Which project, and who asks."""

    url: str | None = Field(
        None, description="https://PROJECT.supabase.co; default: the environment variable SUPABASE_URL"
    )
    key: SecretStr | None = Field(
        None, description="secret or publishable API key; default: the environment variable SUPABASE_KEY"
    )
    access_token: SecretStr | None = Field(
        None,
        description="access token of a signed-in user, to whom row-level security then applies; default: the "
        "environment variable SUPABASE_ACCESS_TOKEN, without it only the key is used",
    )

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str | None) -> str | None:
        if url is not None and not is_project_url(url):
            raise ValueError("write the project's URL, https://PROJECT.supabase.co, with no password or key in it")
        return url


def is_project_url(text: str) -> bool:
    """Whether it can be the URL of a project; one with a user, a password or a query, which may hold a key, cannot."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and is_plain


class SupabaseStoreOptions(ProjectOptions):
    """Options of the store `supabase`."""

    run: str = Field(
        min_length=1,
        pattern=r"^[^\x00]+$",
        description="name of this run's features in the project; several runs share the tables",
    )


class SupabaseImagesOptions(ProjectOptions, ColumnOptions):
    """Options of the image provider `supabase`."""

    table: str = Field(min_length=1, description="table or view with a row per image")
    bucket: str = Field(min_length=1, description="storage bucket of the image files")
    path_column: str = Field("path", description="column with the path of the file in the bucket")
    id_column: str = Field("id", description="column with the item id; a primary key or otherwise unique")
    version_column: str | None = Field(
        None,
        description="column that changes when the file does, for example updated_at, so that a run extracts the "
        "image again",
    )


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `supabase`."""
    yield saeviz.FeatureStoreSpec(
        name="supabase",
        summary="tables of a Supabase project; exact",
        options=SupabaseStoreOptions,
        factory="saeviz_supabase.store:SupabaseStore",
        needs=("supabase",),
        install="saeviz[supabase]",
        sql="saeviz_supabase:tables.sql",
    )


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The image provider `supabase`."""
    yield saeviz.ImageProviderSpec(
        name="supabase",
        summary="rows of a Supabase table, with files in a storage bucket",
        options=SupabaseImagesOptions,
        factory="saeviz_supabase.images:SupabaseImages",
        needs=("supabase",),
        install="saeviz[supabase]",
    )
