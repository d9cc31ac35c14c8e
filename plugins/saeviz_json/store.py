"""Features as JSON, in files with some items each or a file per item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Self

import saeviz
from saeviz_json.batches import BatchFiles
from saeviz_json.items import ItemFiles, feature_folders, remove_features

if TYPE_CHECKING:
    from saeviz_json import JsonOptions


class JsonStore(saeviz.OneItemStore):
    """Folders of two kinds: `BatchFiles`, and `ItemFiles`, which also reads what other programs left.

    A folder goes on in the layout that it has; `layout` is what a new one gets.
    """

    def __init__(self, options: JsonOptions, context: saeviz.Context) -> None:
        self.folder = options.path or context.workdir
        self._items = ItemFiles(self.folder, options.n_features, context)
        self._batches = BatchFiles(self.folder, options.shard_rows, context)
        self._by_item = options.layout == "item"
        self._is_one_of_many = False

    def writer(self, name: str) -> Self:
        """The same store for the writer `name`; see `saeviz.ManyWriters`.

        A folder with a file per item has one writer at a time, and raises `DataError` at the first `write`.
        """
        other = copy(self)
        other._batches = self._batches.writer(name)
        other._is_one_of_many = True
        return other

    def write(self, batch: saeviz.FeatureBatch) -> None:
        """Store a batch; an existing item is replaced, at the same position in the order.

        Raises `DataError` if the store has this layer and tokens with another number of features.
        """
        if len(batch):
            self._claim()
            keeper = self._keeper(batch.space)
            if self._is_one_of_many and keeper is self._items:
                raise saeviz.DataError(
                    f"{self.folder}: a folder with a file per item has one writer at a time; with several, use another "
                    'folder with layout = "batch"'
                )
            keeper.write(batch)

    def read(self, space: saeviz.FeatureSpace, item_ids: Sequence[str] | None = None) -> Iterator[saeviz.FeatureBatch]:
        """Stream the batches of a space; with `item_ids` exactly these, in this order."""
        return self._keeper(space).read(space, item_ids)

    def item_ids(self, space: saeviz.FeatureSpace) -> Sequence[str]:
        """The items stored for a space, in the order of writing."""
        return self._keeper(space).item_ids(space)

    def spaces(self) -> list[saeviz.FeatureSpace]:
        """The spaces with at least one item, sorted."""
        return sorted([*self._items.spaces(), *self._batches.spaces()])

    def clear(self) -> None:
        """Remove the feature files and indexes of every space."""
        folders = feature_folders(self.folder)
        if folders:
            with self._batches.claim_all() as names:
                for path in folders:  # before any index: files without one would look like another program's
                    remove_features(self.folder, path)
                self._batches.clear_of(names)
        else:
            self._batches.clear()
        self._items.forget()

    def close(self) -> None:
        """Merge what this process has left in small files, and let others write."""
        self._batches.close()

    def _claim(self) -> None:
        """Be the one that writes; what others wrote before is read then, whatever its layout."""
        if self._batches.claim():
            self._items.forget()

    def _keeper(self, space: saeviz.FeatureSpace) -> ItemFiles | BatchFiles:
        if self._items.has_folder(space):
            return self._items
        is_new = not any((str(kept) == str(space)) for kept in self._batches.spaces())
        return self._items if is_new and self._by_item else self._batches
