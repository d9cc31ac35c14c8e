"""The options of components: a pydantic model whose fields can carry marks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from saeviz.contract.context import Context
    from saeviz.values.images import ImageItem


class Mark:
    """A property of an option in addition to its type.

    Use `Annotated[Path, PATH, NEUTRAL]` or `Field(..., **PATH, **NEUTRAL)`.
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
"""Marks an option that holds a path (or a table or list of paths), or lists tables with fields that are marked.

In a run file it is relative to the file. An option that can also be something else, such as a hub id, is typed `str`;
it is treated as a path if a file or folder of that name exists or if it begins with a dot.
"""
NEUTRAL = Mark("neutral", "field_title_generator", _neutral_title)
"""Marks an option that does not affect results, for example a batch size or a time-out.

Changing it does not cause a run to recompute anything.
"""


class Options(BaseModel):
    """Base class of a component's options.

    Unknown keys are errors, instances are immutable, and validation errors do not quote values, which may be secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    def check_ready(self, context: Context) -> None:
        """Raise `ConfigError` if something outside the options is missing, for example an API key.

        Called for a labeler before the run starts, long before the labeler is built.
        """

    def check_data(self, place: str, ratings: Collection[str], metadata: Collection[str], /) -> None:
        """Raise `ConfigError` if an option names a rating or a metadata column that no image has.

        `place` is the table of the run file that holds the options; begin the message with it. `ratings` and `metadata`
        are the names that exist. Called for scorers and the labeler before extraction, so that a misspelt name is found
        at once.
        """

    def check_columns(
        self,
        place: str,
        ratings: Collection[str],
        metadata: Collection[str],
        of_images: Collection[str],  # noqa: ARG002  for those that name them
        /,
    ) -> None:
        """Like `check_data`, which it calls, but for options that may also name columns of `images.parquet`.

        `of_images` are the columns that a scorer sees: `l0.SPACE`, those of extractors, and those of earlier scorers.
        """
        self.check_data(place, ratings, metadata)

    def columns_of_images(self, ratings: Collection[str], /) -> Collection[str]:  # noqa: ARG002  for those that need it
        """The names of the `ImageColumn`s that a scorer gives where the images have these ratings.

        Only what is declared here can be named by options of the scorers that run after it.
        """
        return ()

    def needed_columns(self) -> Collection[str]:
        """The columns of scorers that a selector or a reporter cannot do without.

        A run whose scorers give none of that name is refused at the start. `*` stands for any text: `*replicated` is
        that of any correlation.
        """
        return ()

    def check_groups(self, place: str, grouped: bool, /) -> None:
        """Raise `ConfigError` if the options do not work with images in groups, or need groups and there are none.

        `place` is as for `check_data`, which is called as well.
        """

    def check_images(self, place: str, items: Sequence[ImageItem], /) -> None:
        """Raise `ConfigError` if the options of a scorer do not suit the images: their ratings and metadata.

        `place` is as for `check_data`, which is called before.
        """


def secret_fields(model: type[BaseModel]) -> list[str]:
    """The options that hold a secret, that is, are typed `SecretStr`."""
    return [
        name
        for name, field in model.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    ]


def path_fields(model: type[BaseModel]) -> dict[str, bool]:
    """The options marked `PATH`; the value is True if an option can only be a path (typed `Path`, not `str`)."""
    found = {}
    for name, field in model.model_fields.items():
        if PATH.is_on(field):
            parts = (field.annotation, *get_args(field.annotation))
            types = [getattr(part, "__origin__", part) if hasattr(part, "__metadata__") else part for part in parts]
            found[name] = Path in types and str not in types
    return found


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of the tables that an option lists, such as `[[extractor.saes]]`; None if it lists none."""
    return next((part for part in _parts(field.annotation) if _is_model(part)), None)


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation and everything inside of it."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and not get_args(part) and issubclass(part, BaseModel)


def neutral_fields(model: type[BaseModel]) -> list[str]:
    """The options marked `NEUTRAL`."""
    return [name for name, field in model.model_fields.items() if NEUTRAL.is_on(field)]
