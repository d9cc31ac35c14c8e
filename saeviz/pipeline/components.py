"""The components of a run: each is built once, when first used, and named in its errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from saeviz.cache.contents import Contents
from saeviz.config.schema import EXTRACTORS, LISTS, SINGLE, ComponentConfig, RunConfig
from saeviz.contract import handover
from saeviz.contract.combined import combined
from saeviz.contract.context import Context
from saeviz.contract.executors import Executor
from saeviz.contract.roles import (
    EmbeddingProvider,
    FeatureExtractor,
    HasProvenance,
    ImageProvider,
    Labeler,
    Scorer,
    Selector,
    can,
    missing_members,
)
from saeviz.contract.specs import ScorerSpec
from saeviz.contract.stores import FeatureStore
from saeviz.discovery.manager import Manager
from saeviz.formats.objects import is_address
from saeviz.formats.paths import default_cache_dir
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.blame import blaming, blaming_for_pictures, guarded
from saeviz.pipeline.checked_executor import CheckedExecutor
from saeviz.pipeline.checked_store import CheckedStore
from saeviz.pipeline.peers import peer, peer_of_store
from saeviz.results.reporter import Reporter
from saeviz.values.checks import kind_of, said_by
from saeviz.values.errors import ConfigError, MalformedError, PluginError, SaevizError

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
    "executor": Executor,
}
"""The protocol of each role."""


@dataclass
class Components:
    """The components of a configuration; `failed` and `progress` are passed to their contexts."""

    config: RunConfig
    manager: Manager
    rundir: RunDir
    failed: Callable[[str, str], None]
    progress: Callable[[Iterable[Any], int | None, str], Iterator[Any]]
    _built: dict[str, Any] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _peers: dict[str, Any] = field(default_factory=dict)
    _store: CheckedStore | None = None

    @property
    def images(self) -> ImageProvider:
        """The image provider."""
        provider: ImageProvider = self.component("images")
        return provider

    @property
    def extractor(self) -> FeatureExtractor:
        """The feature extractor, or several as one."""
        extractor: FeatureExtractor = self.component("extractor")
        return extractor

    def extractor_of(self, config: ComponentConfig) -> FeatureExtractor:
        """One of the run's extractors; with a name, its spaces have it in front."""
        return combined({config.name: self.part(config)}) if config.name else self.extractor

    def peer(self, table: str) -> Any:
        """As `component`, for others to ask: what they get is checked, and whoever gives it is named in errors."""
        if table not in self._peers:
            if table == "store":
                self._peers[table] = peer_of_store(self.store)
            elif table == "extractor" and self.config.has_named_extractors:
                parts = {one.name: peer(self.part(one), self.who(one), self.log) for one in self.config.extractors}
                self._peers[table] = combined(parts)
            else:
                component = self.component(table)
                self._peers[table] = peer(component, self._names[self._key(table)], self.log)
        return self._peers[table]

    def _key(self, table: str) -> str:
        """The table that a component is built from: a labeler may be the judge, too."""
        return "labeler" if table == "judge" and self.config.judge is self.config.labeler else table

    @property
    def store(self) -> CheckedStore:
        """The feature store; its results are checked."""
        if self._store is None:
            self._store = CheckedStore(self.component("store"), self.who(self.config.store), self.log)
        return self._store

    @cached_property
    def executor(self) -> CheckedExecutor:
        """Who does the work of the run; its results are checked."""
        return CheckedExecutor(self.component("executor"), self.who(self.config.executor), self.log)

    def component(self, table: str) -> Any:
        """The run's component from a table of one component; raises `ConfigError` if there is none."""
        table = self._key(table)
        if table == "extractor" and self.config.has_named_extractors and table not in self._built:
            self._built[table] = combined({one.name: self.part(one) for one in self.config.extractors})
        if table not in self._built:
            config = self.config.component(table) if table in (*SINGLE, "judge") else None
            if config is None:
                raise ConfigError(f"this run has no {table}")
            self._build(table, config)
        return self._built[table]

    def part(self, config: ComponentConfig) -> FeatureExtractor:
        """One of the run's extractors, as its plugin made it."""
        if config.place not in self._built:
            self._build(config.place, config)
        part: FeatureExtractor = self._built[config.place]
        return part

    def _build(self, key: str, config: ComponentConfig) -> None:
        self._names[key] = self.who(config)
        self._built[key] = self.build(config)

    def build(self, config: ComponentConfig, **changes: Any) -> Any:
        """Build a component and check it against its role; `changes` replace fields of its context."""
        with self.blaming(config):
            context = replace(self.context(config), **changes)
            component = self.manager.build(config.role, config.use, config.options, context)
        lacking = missing_members(component, PROTOCOLS[config.role])
        if lacking:
            raise PluginError(f"{self.who(config)} lacks {', '.join(lacking)}")
        return component

    @property
    def log(self) -> Path | None:
        """The file that gets tracebacks of components, None where nothing is written."""
        return self.rundir.log

    def who(self, config: ComponentConfig) -> str:
        """A component and its plugin, for messages: 'scorers[0]: mine of plugin mine (file mine.py)'."""
        return f"{config.place}: {config.use} of {self.manager.offer(config.role, config.use).source}"

    def blaming(self, config: ComponentConfig) -> AbstractContextManager[None]:
        """A context manager for code of a component: unexpected exceptions name it."""
        return blaming_for_pictures(self.who(config), self.log)

    def guarded(self, config: ComponentConfig, results: Iterable[T]) -> Iterator[T]:
        """The results of a component's generator; its failures are handled as by `blaming`."""
        return guarded(self.who(config), self.log, results)

    def context(self, config: ComponentConfig) -> Context:
        """The context of a component of this run."""
        settings = self.config.run
        # A judge that is not the labeler has its own folder, and with it its own usage count.
        folder = config.place if config.place in (*SINGLE, "judge") else self._folder(config)
        return Context(
            device=settings.device,
            precision=settings.precision,
            seed=settings.seed,
            workdir=self.rundir.features if folder == "store" else self.rundir.path / folder,
            cache_dir=settings.cache_dir or default_cache_dir(),
            offline=settings.offline,
            failed=self._failed,
            progress=self.progress,
            peer=self.peer,
            place=config.place,
            workdir_is_shared=not is_address(self.rundir.place),
        )

    def _failed(self, subject: str, error: str) -> None:
        """As `failed`, for components: an exception counts as what it says."""
        if not isinstance(subject, str):
            raise MalformedError(f"context.failed takes the id of an item or a feature as text, not {kind_of(subject)}")
        self.failed(subject, said_by(error) if isinstance(error, BaseException) else str(error))

    def _folder(self, config: ComponentConfig) -> str:
        """The folder of a scorer or reporter; if there are several, each has its own, named after it."""
        # Only the tables of its role are resolved: of a run that is read, others may be damaged.
        table = f"{config.role}s"
        together = getattr(self.config, table) if table in (EXTRACTORS, *LISTS) else ()
        if len(together) < 2:
            return config.role
        alike = [one.place for one in together if (one.use, one.name) == (config.use, config.name)]
        number = alike.index(config.place) + 1 if config.place in alike else 1
        parts = (config.role, config.use, config.name, str(number) if number > 1 else "")
        return "-".join(part for part in parts if part)

    def identity(self, config: ComponentConfig | None) -> Any:
        """What a component's results depend on: its options, the content of files they name, its plugin and code."""
        if config is None:
            return None
        offer = self.manager.offer(config.role, config.use)
        contents = Contents(self.context(config).cache_dir if self.config.run.cache else None)
        return [
            config.identity(),
            offer.source.name,
            offer.source.version,
            # A reporter may write to the files that its options name.
            contents.of_options(config.options) if config.role != "reporter" else [],
            contents.of_code(offer.spec),
        ]

    def provenance(self, config: ComponentConfig, component: Any) -> dict[str, Any]:
        """The provenance of a component for the manifest, empty if it does not report any."""
        with self.blaming(config):
            if not can(component, HasProvenance):
                return {}
            return {"provenance": handover.provenance(self.who(config), component.provenance)}

    def check_ready(self, config: ComponentConfig) -> None:
        """Raise `ConfigError` if a component lacks something outside its options, such as an API key."""
        with self.blaming(config):
            config.options.check_ready(self.context(config))

    @property
    def uses_embeddings(self) -> bool:
        """Whether any scorer of the run uses embeddings; nothing else does."""
        specs = (self.manager.offer(config.role, config.use).spec for config in self.config.scorers)
        return any(isinstance(spec, ScorerSpec) and (spec.needs_embeddings or spec.uses_embeddings) for spec in specs)

    def close(self) -> None:
        """Close all components."""
        for key, component in self._built.items():
            close = getattr(component, "close", None)
            if callable(close):
                try:
                    with blaming(self._names.get(key, key), self.log), suppress(OSError):
                        close()
                except SaevizError as error:  # of what is over it costs nothing
                    logger.warning("%s", error)
        self._built.clear()
        self._peers.clear()
        self._store = None
        vars(self).pop("executor", None)
