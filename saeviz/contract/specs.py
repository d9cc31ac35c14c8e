"""The specs that hooks yield, one class per role."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from saeviz.contract.options import Options
from saeviz.values.citations import Citation
from saeviz.values.columns import ColumnInfo, described


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """Describes one component that a plugin offers.

    `factory` is called as `factory(options, context)`; given as text, `"package.module:Class"`, the module is imported
    only when the component is built. `needs` lists the modules that it imports and that saeviz does not install by
    default; `install` is the argument of `pip install` that provides them. `notes`, written like a factory, is a
    function without arguments that returns lines of further information, for example known weights; `saeviz plugins
    ROLE:NAME` prints them. `sql` is a file in the package, `"package:path/in/package.sql"`, that creates the
    component's tables; `saeviz plugins ROLE:NAME --sql` prints it. `cites` are the works to cite for what the component
    does: reports and `saeviz paper` list those of the components that a run used.
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
    cites: tuple[Citation, ...] = ()

    @property
    def infos(self) -> tuple[ColumnInfo, ...]:
        """What it says of the columns that it gives."""
        return ()


@dataclass(frozen=True, kw_only=True)
class ImageProviderSpec(ComponentSpec):
    """Offers an `ImageProvider`.

    `example` is a run file, `"package:path/in/package.toml"`, that demonstrates the provider; `saeviz demo` runs it.
    """

    role = "images"
    hook = "saeviz_image_providers"
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class FeatureExtractorSpec(ComponentSpec):
    """Offers a `FeatureExtractor`.

    `columns` lists the numbers of images that it gives (`HasNumbersOfImages`), by the names that `numbers_of_images`
    has. A `ColumnInfo` says what a number means; it is shown with each column `NAME.SPACE` of `images.parquet`.
    """

    role = "extractor"
    hook = "saeviz_feature_extractors"
    columns: tuple[str | ColumnInfo, ...] = ()

    @property
    def infos(self) -> tuple[ColumnInfo, ...]:
        """The numbers of images, all as `ColumnInfo`."""
        return described(self.columns)


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
    """Offers a `Scorer`. With `needs_embeddings`, it cannot be used in a run without embeddings.

    Set `uses_embeddings` to False if `data.embeddings` is never read: if no scorer of a run uses embeddings, none are
    computed.

    `columns` lists the columns that it returns, of features and of images: a `ColumnInfo` says what a column means, a
    name alone only that it exists. The report, `saeviz show` and notebooks show that; a run in which two scorers return
    the same column, or none returns one that the selector or a reporter needs, is rejected before anything is computed.
    `pair_columns` lists those of its `PairBlock`s, in the table `pairs`, in the same way.
    """

    role = "scorer"
    hook = "saeviz_scorers"
    needs_embeddings: bool = False
    uses_embeddings: bool = True
    columns: tuple[str | ColumnInfo, ...] = ()
    pair_columns: tuple[str | ColumnInfo, ...] = ()

    @property
    def infos(self) -> tuple[ColumnInfo, ...]:
        """The columns of features and of images, all as `ColumnInfo`."""
        return described(self.columns)

    @property
    def pair_infos(self) -> tuple[ColumnInfo, ...]:
        """The columns of pairs, all as `ColumnInfo`."""
        return described(self.pair_columns)


@dataclass(frozen=True, kw_only=True)
class SelectorSpec(ComponentSpec):
    """Offers a `Selector`."""

    role = "selector"
    hook = "saeviz_selectors"


@dataclass(frozen=True, kw_only=True)
class LabelerSpec(ComponentSpec):
    """Offers a `Labeler`.

    `judges_itself` is for a `LabelJudge` that costs nothing: it judges its own labels unless the run file has a
    [judge].
    """

    role = "labeler"
    hook = "saeviz_labelers"
    judges_itself: bool = False


@dataclass(frozen=True, kw_only=True)
class ReporterSpec(ComponentSpec):
    """Offers a `Reporter`."""

    role = "reporter"
    hook = "saeviz_reporters"


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(ComponentSpec):
    """Offers an `Executor`."""

    role = "executor"
    hook = "saeviz_executors"


SPEC_TYPES: tuple[type[ComponentSpec], ...] = (
    ImageProviderSpec,
    FeatureExtractorSpec,
    FeatureStoreSpec,
    EmbeddingProviderSpec,
    ScorerSpec,
    SelectorSpec,
    LabelerSpec,
    ReporterSpec,
    ExecutorSpec,
)
ROLES: dict[str, type[ComponentSpec]] = {spec_type.role: spec_type for spec_type in SPEC_TYPES}
