"""The images of `saeviz.testing.fakes`: drawn pictures with ratings."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING

from pydantic import Field

from saeviz.contract.context import Context
from saeviz.contract.options import Options
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    import numpy as np

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (40, 70, 220),
    "yellow": (230, 210, 50),
    "violet": (150, 50, 190),
    "white": (240, 240, 240),
}

HOSTILE_IDS = (
    "a/b",
    "a\\b",
    "../x",
    "/etc/passwd",
    ".",
    "..",
    " ",
    " a",
    "a ",
    "a",
    "A",
    "0",
    "00",
    "nan",
    "null",
    "con",
    "two\nlines",
    "tab\tand\rreturn",
    "nul\x00inside",
    "nul at the end\x00",
    "\"quoted\" and 'quoted'",
    "x'); DROP TABLE features; --",
    "100%_of*[them]?",
    "{item}",
    "caf\u00e9",
    "cafe\u0301",
    "\u732b \U0001f408",
    "\u202eright to left",
    "\ufeffbom",
    "\u2028line separator",
    "long " * 200,
)
"""Item ids that are valid but tend to break stores; no two are equal."""

HOSTILE_TEXT = "</script></style></textarea>--><hostile-markup onclick='x'> \"{0}\" %s \\ & \u202ea \u2028"
"""Becomes an element `hostile-markup` on a page that does not escape it."""


class FakeImagesOptions(Options):
    """Options of `fake-images`."""

    n: int = Field(default=12, ge=0, description="number of pictures")
    broken: int = Field(default=0, ge=0, description="number of unreadable pictures, at the end")
    unrated: int = Field(default=0, ge=0, description="number of pictures without ratings, at the beginning")
    groups: int = Field(default=0, ge=0, description="of how many groups, in turns; 0: none of them has a group")
    seed: int = Field(default=0, description="random seed of the pictures")
    hostile: bool = Field(default=False, description="whether ids, titles and names of ratings are hostile text")


class FakeImages:
    """Pictures of one coloured rectangle on grey, with the ratings `warmth` (red minus blue) and `noise`.

    The metadata `colour` is the rectangle's colour; `title` is a short text that contains it.
    """

    def __init__(self, options: FakeImagesOptions, context: Context) -> None:
        self.options = options

    def get_image(self, item_id: str) -> ImageItem | None:
        """The picture with this id, such as `picture/7`; None if there is none."""
        if self.options.hostile:
            return next((item for item in self.iter_images() if item.item_id == item_id), None)
        prefix, _, number = item_id.rpartition("/")
        place = int(number) if prefix == "picture" and number.isascii() and number.isdecimal() else self.options.n
        return self._item(place) if place < self.options.n and str(place) == number else None

    def iter_images(self, filter_labeled: bool = False, limit: int | None = None) -> Iterator[ImageItem]:
        """The pictures, ordered by number."""
        items = (self._item(number) for number in range(self.options.n))
        return islice((item for item in items if item.ratings or not filter_labeled), limit)

    def notes(self) -> list[str]:
        """A note on how many pictures have no ratings."""
        return [f"{self.options.unrated} images have no ratings"] if self.options.unrated else []

    def _item(self, number: int) -> ImageItem:
        import numpy as np

        generator = np.random.default_rng([self.options.seed, number])
        colour = list(COLOURS)[int(generator.integers(len(COLOURS)))]
        red, _, blue = COLOURS[colour]
        ratings = {"warmth": (red - blue) / 255 + float(generator.normal(0, 0.1)), "noise": float(generator.normal())}
        broken = number >= self.options.n - self.options.broken
        hostile = self.options.hostile
        if hostile:
            ratings[f"calm {HOSTILE_TEXT}"] = ratings.pop("noise")
        return ImageItem(
            item_id=HOSTILE_IDS[number] if hostile and number < len(HOSTILE_IDS) else f"picture/{number}",
            source=b"not a picture" if broken else draw_rectangle(colour, generator),
            ratings={} if number < self.options.unrated else ratings,
            metadata={"colour": colour, "title": HOSTILE_TEXT if hostile else f"a {colour} rectangle"},
            group=f"group {number % self.options.groups}" if self.options.groups else None,
        )


def draw_rectangle(colour: str, generator: np.random.Generator) -> bytes:
    """A PNG of 32 by 32 pixels with a rectangle of this colour at a random place on grey."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (32, 32), (128, 128, 128))
    left, top, width, height = (int(number) for number in generator.integers([0, 0, 10, 10], [16, 16, 24, 24]))
    ImageDraw.Draw(image).rectangle((left, top, left + width, top + height), fill=COLOURS[colour])
    buffer = BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
