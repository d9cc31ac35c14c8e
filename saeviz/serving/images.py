"""The images of a run."""

from __future__ import annotations

from functools import cached_property
from threading import Lock

from saeviz.pipeline.session import Session
from saeviz.values.images import ImageItem


class ServedImages:
    """The images of a run, listed once, when the first is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = Lock()

    def all(self) -> list[ImageItem]:
        """Every image of the run."""
        with self._lock:
            return list(self._items.values())

    def get(self, item_id: str) -> ImageItem | None:
        """One image, None where the run has no such image."""
        with self._lock:
            return self._items.get(item_id)

    @cached_property
    def _items(self) -> dict[str, ImageItem]:
        return {item.item_id: item for item in self._session.dataset.items}
