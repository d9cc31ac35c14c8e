"""The store `sql` and the image provider `sql`: SQLite files and PostgreSQL databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

import saeviz
from saeviz.toolkit.column_options import ColumnOptions
from saeviz.toolkit.fetch import FetchOptions

URL_HELP = "PostgreSQL database, postgresql://USER:PASSWORD@HOST:5432/DATABASE"


class SqlStoreOptions(saeviz.Options):
    """Options of the store `sql`."""

    url: SecretStr | None = Field(None, description=f"{URL_HELP}; default: a SQLite file")
    path: Path | None = Field(
        None, description="SQLite file; default: features.sqlite in the run directory", **saeviz.PATH
    )
    run: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[^\x00]+$",
        description="name of this run's features in the database, so that several runs can share it; required with url",
    )

    @model_validator(mode="after")
    def _is_one_database(self) -> SqlStoreOptions:
        if self.url is not None and self.path is not None:
            raise ValueError("url and path name two databases; give one of them")
        if self.url is not None and self.run is None:
            raise ValueError('other runs may use the same database; name this one, for instance run = "art"')
        return self


class SqlImagesOptions(FetchOptions, ColumnOptions):
    """Options of the image provider `sql`."""

    url: SecretStr | None = Field(None, description=f"{URL_HELP}; this or path")
    path: Path | None = Field(None, description="SQLite file; this or url", **saeviz.PATH)
    query: str = Field(
        min_length=1, description="a SELECT that gives a row per image, for instance `select * from paintings`"
    )
    id_column: str = Field("id", description="column with the item id; its values must be unique")
    path_column: str | None = Field(None, description="column with the path of the image file; one of the three")
    url_column: str | None = Field(
        None, description="column with the URL of the image, which is fetched under limits and cached; one of the three"
    )
    image_column: str | None = Field(None, description="column with the bytes of the image file; one of the three")
    folder: Path | None = Field(
        None,
        description="folder that paths are relative to, and that they may not leave; default: that of the SQLite "
        "file, or the current one, and paths may lead anywhere",
        **saeviz.PATH,
    )

    @model_validator(mode="after")
    def _knows_where(self) -> SqlImagesOptions:
        if (self.url is None) == (self.path is None):
            raise ValueError("give one of url and path: which database?")
        if sum(column is not None for column in (self.path_column, self.url_column, self.image_column)) != 1:
            raise ValueError("give one of path_column, url_column and image_column: where are the pictures?")
        return self


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The image provider `sql`."""
    yield saeviz.ImageProviderSpec(
        name="sql",
        summary="a query on a SQLite file or a PostgreSQL database, with paths, URLs or the pictures themselves",
        options=SqlImagesOptions,
        factory="saeviz_sql.images:SqlImages",
        needs=("sqlalchemy",),
        install="saeviz[sql]",
    )


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `sql`."""
    yield saeviz.FeatureStoreSpec(
        name="sql",
        summary="a SQLite file or a PostgreSQL database; exact",
        options=SqlStoreOptions,
        factory="saeviz_sql.store:SqlStore",
        needs=("sqlalchemy",),
        install="saeviz[sql]",
    )
