"""The protocol of feature stores, and their optional capabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from saeviz.values.features import FeatureBatch, FeatureSpace


@runtime_checkable
class FeatureStore(Protocol):
    """Stores sparse features. A batch is safe from a crash once `write` has returned."""

    def write(self, batch: FeatureBatch) -> None:
        """Store a batch; items that are already stored are replaced."""
        ...

    def read(self, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[FeatureBatch]:
        """Stream the batches of a space in bounded memory.

        With `item_ids`: exactly these, in this order; raises `DataError` naming a missing one.
        """
        ...

    def item_ids(self, space: FeatureSpace) -> Sequence[str]:
        """The items stored for a space, in the order of writing; a list, or what holds many in little memory."""
        ...

    def spaces(self) -> list[FeatureSpace]:
        """The spaces with at least one item, sorted."""
        ...

    def clear(self) -> None:
        """Remove everything."""
        ...

    def close(self) -> None:
        """Release files and connections; safe to call twice."""
        ...


@runtime_checkable
class SaysDurability(Protocol):
    """Optional for a feature store: whether its features outlive the process. A store without it counts as durable."""

    @property
    def durable(self) -> bool:
        """Whether stored features outlive the process."""
        ...


@runtime_checkable
class ManyWriters(Protocol):
    """Optional for a feature store: several processes, on any machines that reach it, write to it at the same time."""

    def writer(self, name: str) -> FeatureStore:
        """The same store, for the writer `name`: lower-case letters, digits and hyphens, at most 64.

        It may write while writers of other names do. Where the store has to know them apart, the first `write` raises
        `RunDirError` if one of this name is at work, in any process. What is written is that of the whole store: it
        reads what all have written before its first `write`.

        Writers at work at the same time may write the same item if they give it the same features; it is stored once.
        Later ones replace it as ever. `item_ids` does not depend on who wrote an item, nor on when: the items of
        writers without a name come first, in the order of writing, then all others, sorted.
        """
        ...
