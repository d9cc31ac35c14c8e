"""Options of components: a pydantic model, and marks on its fields."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from saeviz.contract.context import Context


class Mark:
    """A property of an option besides its type.

    `Annotated[Path, PATH, NEUTRAL]` gives an option one or several; `Field(..., **PATH, **NEUTRAL)` does the same.
    """

    def __init__(self, name: str, keyword: str, value: Any) -> None:
        self.name = name
        self._keyword = keyword
        self._value = value

    def keys(self) -> tuple[str]:
        """The keyword argument for pydantic's `Field`; with `__getitem__` this allows `**mark`."""
        return (self._keyword,)

    def __getitem__(self, keyword: str) -> Any:
        if keyword != self._keyword:
            raise KeyError(keyword)
        return self._value

    def __repr__(self) -> str:
        return f"saeviz.{self.name.upper()}"

    def is_on(self, field: FieldInfo) -> bool:
        """Whether the option has this mark."""
        extra = field.json_schema_extra
        by_schema = isinstance(extra, dict) and bool(extra.get(self.name))
        by_keyword = self._keyword == "field_title_generator" and field.field_title_generator is self._value
        inside = [mark for part in get_args(field.annotation) for mark in getattr(part, "__metadata__", ())]
        return self in (*field.metadata, *inside) or by_schema or by_keyword


def _neutral_title(name: str, _field: object) -> str:
    return f"{name.replace('_', ' ').title()} (changes no outcome)"


PATH = Mark("path", "json_schema_extra", {"path": True})
"""Marks an option that holds a path (or a table or list of paths).

In a run file it is relative to the file. An option that may also be another kind of text, such as a hub id, is typed
`str` and read as a path if something exists there or it begins with a dot.
"""
NEUTRAL = Mark("neutral", "field_title_generator", _neutral_title)
"""Marks an option on which no result depends, for example a batch size or a time-out.

Changing it does not make a run repeat its work.
"""


class Options(BaseModel):
    """Base of every component's options: unknown keys are refused, instances are immutable, errors quote no values."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    def check_ready(self, context: Context) -> None:
        """Raise `ConfigError` if something outside the options is missing, for example an API key.

        Called for a labeler before the run starts, long before the labeler is built.
        """

    def check_data(self, place: str, ratings: Collection[str], metadata: Collection[str], /) -> None:
        """Raise `ConfigError` for the name of a rating, or of a column of metadata, that no image has.

        `place` is where the options come from; the message begins with it. Called for scorers before anything is
        extracted, so that a misspelt name is found at once and not after hours.
        """


def secret_fields(model: type[BaseModel]) -> list[str]:
    """The options that hold a secret: typed `SecretStr`."""
    return [
        name
        for name, field in model.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    ]


def path_fields(model: type[BaseModel]) -> dict[str, bool]:
    """The options that hold paths, and whether they can hold nothing else (typed `Path`)."""
    found = {}
    for name, field in model.model_fields.items():
        if PATH.is_on(field):
            parts = (field.annotation, *get_args(field.annotation))
            types = [getattr(part, "__origin__", part) if hasattr(part, "__metadata__") else part for part in parts]
            found[name] = Path in types and str not in types
    return found


def neutral_fields(model: type[BaseModel]) -> list[str]:
    """The options on which no result depends."""
    return [name for name, field in model.model_fields.items() if NEUTRAL.is_on(field)]
