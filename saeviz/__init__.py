"""saeviz: which visual concepts inside a vision model go with what people feel about images.

Everything that a plugin needs is exported here and cheap to import.
"""

from __future__ import annotations

from saeviz.api import component, open_run, run
from saeviz.comparison.compare import compare
from saeviz.comparison.result import Comparison, ComparisonReporter
from saeviz.contract.blocks import BlockScorer, BlockScores
from saeviz.contract.context import Context, Precision
from saeviz.contract.executors import Executor, WorksHere
from saeviz.contract.hookspecs import API_VERSION, hookimpl
from saeviz.contract.merging import MergingScorer, MergingScores, merged_parts
from saeviz.contract.mixins import OneItemEmbeddings, OneItemStore
from saeviz.contract.options import NEUTRAL, PATH, Options
from saeviz.contract.roles import (
    Checkable,
    ConcurrentLabeler,
    DividesIntoShards,
    EmbeddingProvider,
    FamilyScorer,
    FeatureExtractor,
    HasActivations,
    HasDecoder,
    HasManyActivations,
    HasModelFiles,
    HasNumbersOfImages,
    HasProvenance,
    HasTierCutoffs,
    HeatmapExtractor,
    HoldsOut,
    ImageProvider,
    Labeler,
    LabelJudge,
    MeteredJudge,
    MeteredLabeler,
    ReportsNotes,
    Scorer,
    Selector,
    SingleImageExtractor,
    StableSelector,
    TextAligned,
)
from saeviz.contract.specs import (
    ComponentSpec,
    EmbeddingProviderSpec,
    ExecutorSpec,
    FeatureExtractorSpec,
    FeatureStoreSpec,
    ImageProviderSpec,
    LabelerSpec,
    ReporterSpec,
    ScorerSpec,
    SelectorSpec,
)
from saeviz.contract.stores import FeatureStore, ManyWriters, SaysDurability
from saeviz.pipeline.run import Plan
from saeviz.results.assignment import assign
from saeviz.results.by_group import by_group
from saeviz.results.notes import Notes
from saeviz.results.plots import Plots
from saeviz.results.predicting import RatingModels
from saeviz.results.reporter import HasViewer, Reporter
from saeviz.results.run import Run
from saeviz.results.views import FeatureTable, FeatureView, ImageView
from saeviz.values.citations import Citation
from saeviz.values.columns import Better, ColumnInfo
from saeviz.values.errors import (
    ConfigError,
    DataError,
    ExitCode,
    ImageError,
    LabelError,
    NoHeatmapError,
    PausedError,
    PluginError,
    RunDirError,
    SaevizError,
    WorkerError,
)
from saeviz.values.features import (
    TOKENS,
    Feature,
    FeatureBatch,
    FeatureSpace,
    Layer,
    SAEFeatureResult,
    SpatialFeatures,
    Tokens,
)
from saeviz.values.images import Box, HasBytes, ImageItem, ImageSource
from saeviz.values.keys import KEYS, feature_of, features_of, rows_about, rows_in, space_key
from saeviz.values.naming import FeatureLabel, LabelRequest, TopImage, Usage
from saeviz.values.notes import Note, NoteChangedError
from saeviz.values.outcomes import Failure, Figure, Health
from saeviz.values.relations import (
    RelationDifference,
    difference_columns,
    facts_of,
    held_constant,
    interval_caveat,
    main_relation,
    measure_of,
    relation_differences,
    relation_prefixes,
    relation_words,
)
from saeviz.values.score_input import IndividualRatings, ScoreInput, finding_images
from saeviz.values.scores import (
    ImageColumn,
    PairBlock,
    Relation,
    ScoreColumn,
    ScoreFact,
    ScoreTable,
    Selected,
    TierCutoff,
)
from saeviz.values.shards import Shard, Step
from saeviz.values.statistics import FeatureStatistics
from saeviz.values.streams import FeatureStream
from saeviz.values.summary import FeatureSummary
from saeviz.values.targets import TargetKind, target_kind
from saeviz.values.texts import Texts
from saeviz.values.topk import TopImages, stream_top_images

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "KEYS",
    "NEUTRAL",
    "PATH",
    "TOKENS",
    "Better",
    "BlockScorer",
    "BlockScores",
    "Box",
    "Checkable",
    "Citation",
    "ColumnInfo",
    "Comparison",
    "ComparisonReporter",
    "ComponentSpec",
    "ConcurrentLabeler",
    "ConfigError",
    "Context",
    "DataError",
    "DividesIntoShards",
    "EmbeddingProvider",
    "EmbeddingProviderSpec",
    "Executor",
    "ExecutorSpec",
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
    "FeatureSummary",
    "FeatureTable",
    "FeatureView",
    "Figure",
    "HasActivations",
    "HasBytes",
    "HasDecoder",
    "HasManyActivations",
    "HasModelFiles",
    "HasNumbersOfImages",
    "HasProvenance",
    "HasTierCutoffs",
    "HasViewer",
    "Health",
    "HeatmapExtractor",
    "HoldsOut",
    "ImageColumn",
    "ImageError",
    "ImageItem",
    "ImageProvider",
    "ImageProviderSpec",
    "ImageSource",
    "ImageView",
    "IndividualRatings",
    "LabelError",
    "LabelJudge",
    "LabelRequest",
    "Labeler",
    "LabelerSpec",
    "Layer",
    "ManyWriters",
    "MergingScorer",
    "MergingScores",
    "MeteredJudge",
    "MeteredLabeler",
    "NoHeatmapError",
    "Note",
    "NoteChangedError",
    "Notes",
    "OneItemEmbeddings",
    "OneItemStore",
    "Options",
    "PairBlock",
    "PausedError",
    "Plan",
    "Plots",
    "PluginError",
    "Precision",
    "RatingModels",
    "Relation",
    "RelationDifference",
    "Reporter",
    "ReporterSpec",
    "ReportsNotes",
    "Run",
    "RunDirError",
    "SAEFeatureResult",
    "SaevizError",
    "SaysDurability",
    "ScoreColumn",
    "ScoreFact",
    "ScoreInput",
    "ScoreTable",
    "Scorer",
    "ScorerSpec",
    "Selected",
    "Selector",
    "SelectorSpec",
    "Shard",
    "SingleImageExtractor",
    "SpatialFeatures",
    "StableSelector",
    "Step",
    "TargetKind",
    "TextAligned",
    "Texts",
    "TierCutoff",
    "Tokens",
    "TopImage",
    "TopImages",
    "Usage",
    "WorkerError",
    "WorksHere",
    "assign",
    "by_group",
    "compare",
    "component",
    "difference_columns",
    "facts_of",
    "feature_of",
    "features_of",
    "finding_images",
    "held_constant",
    "hookimpl",
    "interval_caveat",
    "main_relation",
    "measure_of",
    "merged_parts",
    "open_run",
    "relation_differences",
    "relation_prefixes",
    "relation_words",
    "rows_about",
    "rows_in",
    "run",
    "space_key",
    "stream_top_images",
    "target_kind",
]
