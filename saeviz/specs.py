"""What a plugin's hook yields: a name, a sentence, the options, and where the code is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from saeviz.context import Context


class Mark:
    """Something that an option is, besides its type.

    `Annotated[Path, PATH, NEUTRAL]` marks an option with one or several; in `Field(..., **PATH, **NEUTRAL)` each goes
    by a keyword of its own.
    """

    def __init__(self, name: str, keyword: str, value: Any) -> None:
        self.name = name
        self._keyword = keyword
        self._value = value

    def keys(self) -> tuple[str]:
        """Of the keyword arguments for pydantic's `Field`, with `__getitem__`."""
        return (self._keyword,)

    def __getitem__(self, keyword: str) -> Any:
        if keyword != self._keyword:
            raise KeyError(keyword)
        return self._value

    def __repr__(self) -> str:
        return f"saeviz.{self.name.upper()}"

    def is_on(self, field: FieldInfo) -> bool:
        """Whether the option has it."""
        extra = field.json_schema_extra
        by_schema = isinstance(extra, dict) and bool(extra.get(self.name))
        by_keyword = self._keyword == "field_title_generator" and field.field_title_generator is self._value
        inside = [mark for part in get_args(field.annotation) for mark in getattr(part, "__metadata__", ())]
        return self in (*field.metadata, *inside) or by_schema or by_keyword


def _neutral_title(name: str, _field: object) -> str:
    return f"{name.replace('_', ' ').title()} (changes no outcome)"


PATH = Mark("path", "json_schema_extra", {"path": True})
"""Marks an option that holds a path (or a table or list of paths).

In a run file it is relative to the file. An option that may also be text of another kind, such as a hub
id, is typed `str` and taken as a path where something exists there or it begins with a dot.
"""

NEUTRAL = Mark("neutral", "field_title_generator", _neutral_title)
"""Marks an option on which no outcome depends, for instance a batch size or a time-out.

A run in which it has changed does not do its work again.
"""


class Options(BaseModel):
    """Base of every component's options: unknown keys are refused, values do not change, errors quote none of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    def check_ready(self, context: Context) -> None:
        """Raise `ConfigError` for what is missing around the component, for instance a key that is not set.

        Called before a run that will use a labeler, long before it is built.
        """

    def check_data(self, place: str, ratings: Collection[str], metadata: Collection[str], /) -> None:
        """Raise `ConfigError` for the name of a rating, or of a column of metadata, that no image has.

        `place` is where the options come from, the beginning of the message. Called for scorers before anything is
        extracted: a misspelt name should not be found after hours.
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
    """The options on which no outcome depends."""
    return [name for name, field in model.model_fields.items() if NEUTRAL.is_on(field)]


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """One component that a plugin offers.

    `factory` is called as `factory(options, context)`; written as text, `"package.module:Class"`, the
    module is imported only when the component is built. `needs` are the modules it imports that plain
    saeviz does not install, `install` what to `pip install` to get them. `notes`, written like a factory, is a
    function without arguments that gives lines worth knowing, for instance published weights; `saeviz plugins
    ROLE:NAME` prints them. `sql` is a file of the package, `"package:path/in/package.sql"`, that makes the tables which
    the component needs; `saeviz plugins ROLE:NAME --sql` prints it.
    """

    role: ClassVar[str]
    hook: ClassVar[str]

    name: str
    summary: str
    factory: str | Callable[..., Any]
    options: type[Options] = Options
    needs: tuple[str, ...] = ()
    install: str = ""
    notes: str | Callable[[], Iterable[str]] | None = None
    sql: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageProviderSpec(ComponentSpec):
    """Offers an `ImageProvider`.

    `example` is a run file, `"package:path/in/package.toml"`, that shows the provider at work;
    `saeviz demo` runs it.
    """

    role = "images"
    hook = "saeviz_image_providers"
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class FeatureExtractorSpec(ComponentSpec):
    """Offers a `FeatureExtractor`."""

    role = "extractor"
    hook = "saeviz_feature_extractors"


@dataclass(frozen=True, kw_only=True)
class FeatureStoreSpec(ComponentSpec):
    """Offers a `FeatureStore`."""

    role = "store"
    hook = "saeviz_feature_stores"


@dataclass(frozen=True, kw_only=True)
class EmbeddingProviderSpec(ComponentSpec):
    """Offers an `EmbeddingProvider`."""

    role = "embeddings"
    hook = "saeviz_embedding_providers"


@dataclass(frozen=True, kw_only=True)
class ScorerSpec(ComponentSpec):
    """Offers a `Scorer`. One that `needs_embeddings` cannot be part of a run without them.

    Where no scorer of a run `uses_embeddings` none are made: say False where `data.embeddings` is never read.

    `columns` are names of columns that it gives: two scorers of a run that share one are refused before anything is
    computed, and not when the second of them gives it.
    """

    role = "scorer"
    hook = "saeviz_scorers"
    needs_embeddings: bool = False
    uses_embeddings: bool = True
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SelectorSpec(ComponentSpec):
    """Offers a `Selector`."""

    role = "selector"
    hook = "saeviz_selectors"


@dataclass(frozen=True, kw_only=True)
class LabelerSpec(ComponentSpec):
    """Offers a `Labeler`. One that `judges_itself` is a `LabelJudge` that costs nothing: its labels are judged by it
    unless the run file's [judge] says otherwise.
    """

    role = "labeler"
    hook = "saeviz_labelers"
    judges_itself: bool = False


@dataclass(frozen=True, kw_only=True)
class ReporterSpec(ComponentSpec):
    """Offers a `Reporter`."""

    role = "reporter"
    hook = "saeviz_reporters"


SPEC_TYPES: tuple[type[ComponentSpec], ...] = (
    ImageProviderSpec,
    FeatureExtractorSpec,
    FeatureStoreSpec,
    EmbeddingProviderSpec,
    ScorerSpec,
    SelectorSpec,
    LabelerSpec,
    ReporterSpec,
)
ROLES: dict[str, type[ComponentSpec]] = {spec_type.role: spec_type for spec_type in SPEC_TYPES}
