"""saeviz: which visual concepts inside a vision model predict what people feel about images.

Everything a plugin needs is named here; all of it is cheap to import.
"""

from __future__ import annotations

from saeviz.api import component, open_run, run
from saeviz.context import Context
from saeviz.errors import (
    ConfigError,
    DataError,
    ExitCode,
    ImageError,
    LabelError,
    PluginError,
    RunDirError,
    SaevizError,
)
from saeviz.hookspecs import API_VERSION, hookimpl
from saeviz.mixins import OneItemEmbeddings, OneItemStore
from saeviz.results import Run
from saeviz.roles import (
    EmbeddingProvider,
    FamilyScorer,
    FeatureExtractor,
    FeatureStore,
    ImageProvider,
    Labeler,
    LabelJudge,
    Reporter,
    ReportsNotes,
    Scorer,
    Selector,
    SingleImageExtractor,
    TextAligned,
)
from saeviz.scoring import FeatureStatistics, FeatureStream, ScoreInput
from saeviz.specs import (
    PATH,
    ComponentSpec,
    EmbeddingProviderSpec,
    FeatureExtractorSpec,
    FeatureStoreSpec,
    ImageProviderSpec,
    LabelerSpec,
    Options,
    ReporterSpec,
    ScorerSpec,
    SelectorSpec,
)
from saeviz.topk import TopImages, stream_top_images
from saeviz.types import (
    TOKENS,
    Failure,
    Feature,
    FeatureBatch,
    FeatureLabel,
    FeatureSpace,
    ImageItem,
    LabelRequest,
    Relation,
    SAEFeatureResult,
    ScoreColumn,
    ScoreFact,
    ScoreTable,
    Selected,
    SpatialFeatures,
    Tokens,
    TopImage,
)

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "PATH",
    "TOKENS",
    "ComponentSpec",
    "ConfigError",
    "Context",
    "DataError",
    "EmbeddingProvider",
    "EmbeddingProviderSpec",
    "ExitCode",
    "Failure",
    "FamilyScorer",
    "Feature",
    "FeatureBatch",
    "FeatureExtractor",
    "FeatureExtractorSpec",
    "FeatureLabel",
    "FeatureSpace",
    "FeatureStatistics",
    "FeatureStore",
    "FeatureStoreSpec",
    "FeatureStream",
    "ImageError",
    "ImageItem",
    "ImageProvider",
    "ImageProviderSpec",
    "LabelError",
    "LabelJudge",
    "LabelRequest",
    "Labeler",
    "LabelerSpec",
    "OneItemEmbeddings",
    "OneItemStore",
    "Options",
    "PluginError",
    "Relation",
    "Reporter",
    "ReporterSpec",
    "ReportsNotes",
    "Run",
    "RunDirError",
    "SAEFeatureResult",
    "SaevizError",
    "ScoreColumn",
    "ScoreFact",
    "ScoreInput",
    "ScoreTable",
    "Scorer",
    "ScorerSpec",
    "Selected",
    "Selector",
    "SelectorSpec",
    "SingleImageExtractor",
    "SpatialFeatures",
    "TextAligned",
    "Tokens",
    "TopImage",
    "TopImages",
    "component",
    "hookimpl",
    "open_run",
    "run",
    "stream_top_images",
]
