"""What a hook yields: one kind of spec per role."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from saeviz.contract.options import Options


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
