"""The images of a service."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.sources import remote_source
from saeviz_http.client import Client, Refused, pages

if TYPE_CHECKING:
    from saeviz_http import HttpOptions


class HttpImages:
    """An image provider on another machine; a picture is fetched each time it is opened."""

    def __init__(self, options: HttpOptions, context: saeviz.Context) -> None:
        self.context = context
        self._client = Client(options, context, "images")

    def get_image(self, item_id: str) -> saeviz.ImageItem | None:
        """The image with this id, or None."""
        self._client.needs("images")
        if _text(item_id) != item_id:
            return None
        found = self._client.get("/v1/images/item", item_id=item_id)
        return None if found is None else self._item(found)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[saeviz.ImageItem]:
        """All images in the order of the service; with `filter_labeled` only those that have a rating."""
        self._client.needs("images")
        found = pages(lambda start: self._client.get("/v1/images", start=start) or {}, "items", self._client)
        items = (self._item(known) for known in found)
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _item(self, known: Any) -> saeviz.ImageItem:
        try:
            item_id = known["item_id"]
            return saeviz.ImageItem(
                item_id=item_id,
                source=remote_source(self.context, item_id, None, partial(self._file, item_id)),
                ratings=_numbers(known["ratings"]),
                metadata={_text(name): _text(value) for name, value in known["metadata"].items()},
                version=_text(known["version"]),
                individual={_text(name): _numbers(given) for name, given in known["individual"].items()},
                group=_text(known.get("group") or "") or None,
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, saeviz.DataError) as error:
            raise self._client.nonsense(error) from error

    def _file(self, item_id: str) -> bytes:
        try:
            data = self._client.get_bytes("/v1/images/file", item_id=item_id)
        except Refused as error:
            raise saeviz.ImageError(f"image {item_id!r}: {error}") from error
        except saeviz.DataError as error:
            raise saeviz.SaevizError(str(error)) from error  # of the service, and with it of every picture
        if data is None:
            raise saeviz.ImageError(f"image {item_id!r} is no longer at {self._client.url}")
        return data


def _numbers(values: Any) -> dict[str, float]:
    return {_text(name): float(value) for name, value in values.items()}


def _text(value: Any) -> str:
    """As text that can be written anywhere."""
    return str(value).encode("utf-8", "replace").decode()
