"""The images of a run."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from saeviz.pipeline.session import Session
from saeviz.values.images import ImageItem


class ServedImages:
    """The images of a run, listed once when first needed; thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = Lock()

    def all(self) -> Sequence[ImageItem]:
        """Every image of the run."""
        with self._lock:
            return self._session.dataset.items

    def get(self, item_id: str) -> ImageItem | None:
        """The image with this id, None if there is none."""
        with self._lock:
            return self._session.dataset.by_id.get(item_id)
