"""The store of a run, with checked results; errors name its plugin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from saeviz.contract import handover
from saeviz.contract.roles import can
from saeviz.contract.stores import FeatureStore, ManyWriters, SaysDurability
from saeviz.pipeline.blame import blaming, guarded
from saeviz.values.errors import ConfigError, PluginError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.streams import expected
from saeviz.values.texts import Texts


class CheckedStore:
    """Wraps a `FeatureStore` for all stages and readers; `who` names the store and its plugin in messages."""

    def __init__(self, store: FeatureStore, who: str, log: Path | None) -> None:
        self.who = who
        self.store = store
        self._log = log
        self._proven: set[FeatureSpace] = set()

    @property
    def durable(self) -> bool:
        """Whether features outlive the process, so that others can read them."""
        with blaming(self.who, self._log):
            if not can(self.store, SaysDurability):
                return True
            return handover.truth(self.who, "durable", self.store.durable)

    def writer(self, name: str) -> CheckedStore:
        """The same store for one of several writers, as `ManyWriters` has it.

        Raises `ConfigError` if the store has one writer at a time.
        """
        if not isinstance(self.store, ManyWriters):
            raise ConfigError(f"{self.who} has one writer at a time; with several, use a store such as npz or sql")
        return CheckedStore(self._call("writer", name), self.who, self._log)

    def write(self, batch: FeatureBatch) -> None:
        """Store a batch. The first batch of a space is read back and compared."""
        self._call("write", batch)
        if batch.space not in self._proven and len(batch):
            handover.refuse_another_batch(self.who, batch, list(self.read(batch.space, batch.item_ids)))
            self._proven.add(batch.space)

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """The batches of a space; with `item_ids` exactly these, in this order."""
        given = handover.each(self.who, "read", self._call("read", space, item_ids), FeatureBatch)
        return expected(guarded(self.who, self._log, given), space, item_ids, self.who, PluginError)

    def item_ids(self, space: FeatureSpace) -> Texts:
        """The items stored for a space."""
        with blaming(self.who, self._log):
            return handover.item_ids(self.who, space, self.store.item_ids(space))

    def spaces(self) -> list[FeatureSpace]:
        """The spaces with at least one item, sorted."""
        with blaming(self.who, self._log):
            return sorted(handover.listed(self.who, "spaces", self.store.spaces(), FeatureSpace))

    def clear(self) -> None:
        """Remove everything."""
        self._call("clear")

    def close(self) -> None:
        """Release files and connections."""
        self._call("close")

    def _call(self, name: str, *arguments: Any) -> Any:
        with blaming(self.who, self._log):
            return getattr(self.store, name)(*arguments)
