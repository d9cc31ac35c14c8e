"""The hooks that a plugin can implement, one per role.

A hook yields specs; nothing is imported or built until a run asks for a component by name.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from saeviz.contract.specs import (
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

PROJECT = "saeviz"
API_VERSION = 1
"""A plugin can declare `SAEVIZ_API = 1`; one that declares a newer API is skipped with a message."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def saeviz_image_providers() -> Iterable[ImageProviderSpec]:  # type: ignore[empty-body]
    """Sources of images and ratings.

    ::

        @saeviz.hookimpl
        def saeviz_image_providers():
            yield saeviz.ImageProviderSpec(
                name="iiif", summary="images of a IIIF manifest", options=IIIFOptions,
                factory="saeviz_iiif.provider:IIIFImages")
    """


@hookspec
def saeviz_feature_extractors() -> Iterable[FeatureExtractorSpec]:  # type: ignore[empty-body]
    """Models whose activations become sparse features.

    ::

        @saeviz.hookimpl
        def saeviz_feature_extractors():
            yield saeviz.FeatureExtractorSpec(
                name="siglip-sae", summary="SigLIP with SAEs", options=SiglipOptions,
                factory="saeviz_siglip.extractor:SiglipExtractor", needs=("torch",), install="saeviz[models]")
    """


@hookspec
def saeviz_feature_stores() -> Iterable[FeatureStoreSpec]:  # type: ignore[empty-body]
    """Storage for features.

    ::

        @saeviz.hookimpl
        def saeviz_feature_stores():
            yield saeviz.FeatureStoreSpec(
                name="lance", summary="LanceDB table", options=LanceOptions,
                factory="saeviz_lance.store:LanceStore", needs=("lancedb",), install="saeviz-lance")
    """


@hookspec
def saeviz_embedding_providers() -> Iterable[EmbeddingProviderSpec]:  # type: ignore[empty-body]
    """Independent image embeddings, with which monosemanticity is measured.

    ::

        @saeviz.hookimpl
        def saeviz_embedding_providers():
            yield saeviz.EmbeddingProviderSpec(
                name="mean-colour", summary="mean RGB of the picture", factory=MeanColour)
    """


@hookspec
def saeviz_scorers() -> Iterable[ScorerSpec]:  # type: ignore[empty-body]
    """Scores of features.

    ::

        class Coverage:
            def __init__(self, options, context): ...
            def score(self, data):
                yield saeviz.ScoreColumn("coverage", data.space, data.features.count_active() / data.n_items)

        @saeviz.hookimpl
        def saeviz_scorers():
            yield saeviz.ScorerSpec(name="coverage", summary="share of images it fires on", factory=Coverage)
    """


@hookspec
def saeviz_selectors() -> Iterable[SelectorSpec]:  # type: ignore[empty-body]
    """Components that choose which features to name.

    ::

        @saeviz.hookimpl
        def saeviz_selectors():
            yield saeviz.SelectorSpec(name="first", summary="the first features", factory=FirstFeatures)
    """


@hookspec
def saeviz_labelers() -> Iterable[LabelerSpec]:  # type: ignore[empty-body]
    """Components that name features.

    ::

        @saeviz.hookimpl
        def saeviz_labelers():
            yield saeviz.LabelerSpec(
                name="my-vlm", summary="our in-house vision-language model", options=MyVLMOptions,
                factory="my_vlm.labeler:MyVLM")
    """


@hookspec
def saeviz_reporters() -> Iterable[ReporterSpec]:  # type: ignore[empty-body]
    """Components that write a report of a finished run.

    ::

        @saeviz.hookimpl
        def saeviz_reporters():
            yield saeviz.ReporterSpec(name="markdown", summary="a Markdown page", factory=MarkdownReport)
    """


@hookspec
def saeviz_executors() -> Iterable[ExecutorSpec]:  # type: ignore[empty-body]
    """What has the work of a run done: processes, or other machines.

    ::

        @saeviz.hookimpl
        def saeviz_executors():
            yield saeviz.ExecutorSpec(
                name="dask", summary="workers of a Dask cluster", options=DaskOptions,
                factory="saeviz_dask.executor:DaskExecutor", needs=("distributed",), install="saeviz-dask")
    """
