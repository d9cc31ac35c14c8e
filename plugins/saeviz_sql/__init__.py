"""The store `sql` and the image provider `sql`: SQLite files and PostgreSQL databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

import saeviz

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
