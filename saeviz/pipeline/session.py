"""One run in progress: its configuration, its directory, and its components, each built once when first used."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from saeviz.cache.contents import Contents
from saeviz.config.schema import SINGLE, ComponentConfig, RunConfig
from saeviz.contract import handover
from saeviz.contract.context import Context
from saeviz.contract.roles import (
    EmbeddingProvider,
    FeatureExtractor,
    FeatureStore,
    HasProvenance,
    ImageProvider,
    Labeler,
    ReportsNotes,
    Scorer,
    Selector,
    missing_members,
)
from saeviz.contract.specs import ScorerSpec
from saeviz.discovery.manager import Manager
from saeviz.formats.paths import default_cache_dir
from saeviz.formats.plain import one_line, plain
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.pipeline.checked_store import CheckedStore
from saeviz.pipeline.progress import watched
from saeviz.results.reporter import Reporter
from saeviz.values.errors import ConfigError, DataError, MalformedError, PluginError, SaevizError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.outcomes import Failure

T = TypeVar("T")
logger = logging.getLogger("saeviz")

PROTOCOLS: dict[str, type] = {
    "images": ImageProvider,
    "extractor": FeatureExtractor,
    "store": FeatureStore,
    "embeddings": EmbeddingProvider,
    "scorer": Scorer,
    "selector": Selector,
    "labeler": Labeler,
    "reporter": Reporter,
}
"""What a component of each role must be able to do."""


@dataclass
class Session:
    """What the stages work with; `redo` says that the user asked for the current one to be run again."""

    config: RunConfig
    manager: Manager
    rundir: RunDir
    limit: int | None = None
    show_progress: bool = False
    stage: str = ""
    redo: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    _built: dict[str, Any] = field(default_factory=dict)
    _store: CheckedStore | None = None

    @property
    def images(self) -> ImageProvider:
        """The image provider."""
        provider: ImageProvider = self.component("images")
        return provider

    @property
    def extractor(self) -> FeatureExtractor:
        """The feature extractor."""
        extractor: FeatureExtractor = self.component("extractor")
        return extractor

    @property
    def store(self) -> CheckedStore:
        """The feature store; what it gives is checked."""
        if self._store is None:
            self._store = CheckedStore(self, self.config.store, self.component("store"))
        return self._store

    def component(self, table: str) -> Any:
        """The run's component from a table that holds one; raises `ConfigError` where it has none."""
        if table == "judge" and self.config.judge is self.config.labeler:
            table = "labeler"
        if table not in self._built:
            config = self.config.component(table) if table in (*SINGLE, "judge") else None
            if config is None:
                raise ConfigError(f"this run has no {table}")
            self._built[table] = self.build(config)
        return self._built[table]

    def build(self, config: ComponentConfig, **changes: Any) -> Any:
        """A component that is checked against its role; `changes` are of its context."""
        with self.blaming(config):
            context = replace(self.context(config), **changes)
            component = self.manager.build(config.role, config.use, config.options, context)
        lacking = missing_members(component, PROTOCOLS[config.role])
        if lacking:
            raise PluginError(f"{self.who(config)} lacks {', '.join(lacking)}")
        return component

    def who(self, config: ComponentConfig) -> str:
        """A component and its plugin, for messages: 'scorers.0: mine of plugin mine (file mine.py)'."""
        return f"{config.place}: {config.use} of {self.manager.offer(config.role, config.use).source}"

    @contextmanager
    def blaming(self, config: ComponentConfig) -> Iterator[None]:
        """Turn whatever a component's code raises into a `PluginError` that names it; the traceback is logged."""
        try:
            yield
        except MalformedError as error:
            raise PluginError(f"{self.who(config)} fails: {error}") from error
        except (SaevizError, MemoryError):
            raise
        except Exception as error:  # foreign code may fail in any way
            logger.debug("%s: %s fails", config.place, config.use, exc_info=True)
            raise PluginError(
                f"{self.who(config)} fails with {type(error).__name__}: {error}; the traceback is in {self.rundir.log}"
            ) from error

    def guarded(self, config: ComponentConfig, results: Iterable[T]) -> Iterator[T]:
        """What a component's generator gives, blamed as in `blaming`; the consumer's failures are not."""
        with self.blaming(config):
            iterator = iter(results)
        while True:
            with self.blaming(config):
                try:
                    result = next(iterator)
                except StopIteration:
                    return
            yield result

    def context(self, config: ComponentConfig) -> Context:
        """The surroundings of a component of this run."""
        settings = self.config.run
        # A judge that is not the labeler keeps its own count of what it has spent.
        folder = config.place if config.place in (*SINGLE, "judge") else self._folder(config)
        return Context(
            device=settings.device,
            precision=settings.precision,
            seed=settings.seed,
            workdir=self.rundir.features if folder == "store" else self.rundir.path / folder,
            cache_dir=settings.cache_dir or default_cache_dir(),
            offline=settings.offline,
            failed=self.failed,
            progress=self.progress,
            peer=self.component,
            place=config.place,
        )

    def _folder(self, config: ComponentConfig) -> str:
        """Of a scorer or reporter: one that is not alone has one of its own, named after it, wherever it is listed."""
        together = [one for one in (*self.config.scorers, *self.config.reporters) if one.role == config.role]
        if len(together) < 2:
            return config.role
        alike = [one.place for one in together if (one.use, one.name) == (config.use, config.name)]
        number = alike.index(config.place) + 1 if config.place in alike else 1
        parts = (config.role, config.use, config.name, str(number) if number > 1 else "")
        return "-".join(part for part in parts if part)

    def identity(self, config: ComponentConfig | None) -> Any:
        """What an outcome depends on of a component: its options, what is in files they name, its plugin and code."""
        if config is None:
            return None
        offer = self.manager.offer(config.role, config.use)
        contents = Contents(self.context(config).cache_dir if self.config.run.cache else None)
        return [
            config.identity(),
            offer.source.name,
            offer.source.version,
            # A reporter may well write to what its options name.
            contents.of_options(config.options) if config.role != "reporter" else [],
            contents.of_code(offer.spec),
        ]

    def failed(self, subject: str, error: str) -> None:
        """List something that is left out, and go on."""
        logger.warning("%s: %s: left out: %s", self.stage, one_line(subject), one_line(error))
        self.rundir.add_failure(Failure(self.stage, subject, error))

    def progress(self, items: Iterable[Any], total: int | None, label: str) -> Iterator[Any]:
        """Pass items on; for whatever takes longer, a bar on a terminal and else a line now and then."""
        return watched(items, total, label, as_bar=self.show_progress)

    @cached_property
    def items(self) -> list[ImageItem]:
        """Every image of the run; raises `DataError` where there is none or an id comes twice."""
        config = self.config.images
        with self.blaming(config):
            given = self.images.iter_images(limit=self.limit)
        items = list(islice(handover.images(self.who(config), self.guarded(config, given)), self.limit))
        if isinstance(self.images, ReportsNotes):
            for note in self.images.notes():
                logger.warning("images: %s", note)
        if not items:
            raise DataError(
                f"images: {self.config.images.use} has no images; look at the table [images] of the run file"
            )
        twice = [item_id for item_id, count in Counter(item.item_id for item in items).items() if count > 1]
        if twice:
            raise DataError(f"images: the item id {twice[0]!r} comes more than once; ids must be unique")
        return items

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Which picture each item was when the run began: one that changes meanwhile is made anew by the next run."""
        return {item.item_id: item.fingerprint for item in self.items}

    @cached_property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces of the run, as the manifest has them or else as the extractor says."""
        record = self.rundir.read_manifest()["stages"].get("extract", {})
        if record.get("digest") == self.digests.get("extract") and "spaces" in record:
            return [FeatureSpace(**space) for space in record["spaces"]]
        with self.blaming(self.config.extractor):
            return handover.spaces(self.who(self.config.extractor), self.extractor.spaces)

    def extracted(self) -> list[ImageItem]:
        """The images that have features in every space and are not left out, in the order of the image provider."""
        kept = [set(self.store.item_ids(space)) for space in self.spaces]
        done = set.intersection(*kept) if kept else set()
        # A picture that changed and can no longer be read still has its old features in the store.
        done -= {failure.subject for failure in self.rundir.failures() if failure.stage == "extract"}
        return [item for item in self.items if item.item_id in done]

    @property
    def uses_embeddings(self) -> bool:
        """Whether any scorer of the run reads embeddings; nothing else does."""
        specs = (self.manager.offer(config.role, config.use).spec for config in self.config.scorers)
        return any(isinstance(spec, ScorerSpec) and (spec.needs_embeddings or spec.uses_embeddings) for spec in specs)

    def ratings(self) -> list[str]:
        """The names of the ratings, in the order in which they first come."""
        return list(dict.fromkeys(name for item in self.items for name in item.ratings))

    def check_ready(self, config: ComponentConfig) -> None:
        """Raise `ConfigError` for what is missing around a component, such as a key that is not set."""
        with self.blaming(config):
            config.options.check_ready(self.context(config))

    def check_scorers(self) -> None:
        """Raise `ConfigError` where a scorer's options name a rating or metadata that no image has.

        Warns of ratings that half of the images or more do not have.
        """
        metadata = list(dict.fromkeys(name for item in self.items for name in item.metadata))
        for config in self.config.scorers:
            with self.blaming(config):
                config.options.check_data(config.place, self.ratings(), metadata)
        n = len(self.items)
        for name, count in Counter(name for item in self.items for name in item.ratings).items():
            if 2 * count <= n:
                logger.warning("images: only %d of %d have the rating %r; it is judged by these", count, n, name)

    def data_digest(self) -> str:
        """Stands for the images that have features, their ratings and their metadata."""
        return digest_of(
            [
                [
                    item.item_id,
                    self.fingerprints[item.item_id],
                    dict(item.ratings),
                    dict(item.metadata),
                    {name: dict(given) for name, given in item.individual.items()},
                ]
                for item in self.extracted()
            ]
        )

    def close(self) -> None:
        """Release what components hold."""
        for component in self._built.values():
            close = getattr(component, "close", None)
            if callable(close):
                with suppress(OSError):
                    close()
        self._built.clear()
        self._store = None


def provenance(session: Session, config: ComponentConfig, component: Any) -> dict[str, Any]:
    """For the manifest: what a component's numbers come from, where it can tell."""
    with session.blaming(config):
        return {"provenance": plain(component.provenance)} if isinstance(component, HasProvenance) else {}
