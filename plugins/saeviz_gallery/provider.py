"""The image provider `gallery`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

from saeviz import Context, ImageItem
from saeviz_gallery import GalleryOptions
from saeviz_gallery.concepts import Dice, compose
from saeviz_gallery.drawing import DRAWING, draw
from saeviz_gallery.panel import rate


class Gallery:
    """Pictures `gallery/0000`, `gallery/0001` ..., drawn when they are opened.

    Each has the ratings of `panel.PANEL` and as metadata a `caption` and its `concepts`, separated by commas.
    """

    def __init__(self, options: GalleryOptions, context: Context) -> None:
        self.options = options
        self.context = context
        self._items = _items(options)

    def get_image(self, item_id: str) -> ImageItem | None:
        """The picture with this id, or None."""
        return self._items.get(item_id)

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:  # noqa: ARG002
        """All pictures in the order of their numbers; every one is rated."""
        return islice(self._items.values(), limit)


def _items(options: GalleryOptions) -> dict[str, ImageItem]:
    pictures = [compose(f"gallery:{options.seed}", index) for index in range(options.count)]
    ratings = rate(pictures, options.seed)
    raters_picture = _shuffled(options) if options.shuffle_ratings else range(options.count)
    items = {}
    for index, (picture, rated) in enumerate(zip(pictures, raters_picture, strict=True)):
        item_id = f"gallery/{index:04d}"
        items[item_id] = ImageItem(
            item_id,
            partial(draw, picture, options.size),
            ratings={name: float(values[rated]) for name, values in ratings.items()},
            metadata={"caption": picture.caption, "concepts": ",".join(picture.concepts)},
            version=f"{DRAWING}/{picture.seed}/{options.size}",
        )
    return items


def _shuffled(options: GalleryOptions) -> list[int]:
    """Whose ratings a picture gets.

    At a false discovery rate of 0.05 one shuffle in twenty has a discovery all the same; that of seed 0 has none.
    """
    return Dice(f"shuffled:{options.seed}").pick_several(range(options.count), options.count)
