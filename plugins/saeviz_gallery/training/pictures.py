"""Training pictures: composed like the gallery's, from a stream of their own, rendered once and cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import Pool
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saeviz.typing import Mask
from saeviz_gallery.concepts import CONCEPTS, Picture, compose
from saeviz_gallery.drawing import draw

STREAM = "training"
REDRAWN = "redrawn"
"""Added to a picture's seed: the same composition, drawn with other places, sizes and colours."""

DRAWN_SIZE = 192
"""Pixels at which pictures are drawn before a model's resize: the gallery's own default."""

CLIP_SIZE = 56
EMBEDDER_SIZE = 64
RENDERINGS = {"clip": CLIP_SIZE, "embedder": EMBEDDER_SIZE, "embedder-redrawn": EMBEDDER_SIZE}

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """`pixels` uint8 `[n, size, size, 3]`, `presence` bool `[n, len(CONCEPTS)]`."""

    pixels: Pixels
    presence: Mask


def training_pictures(cache: Path, count: int) -> Path:
    """The folder with the first `count` training pictures, rendered into `cache` on first use."""
    folder = cache / f"{count}-pictures"
    if not folder.exists():
        unfinished = cache / f"{count}-unfinished"
        _render(unfinished, count)
        unfinished.rename(folder)
    return folder


def read_pictures(folder: Path, name: str) -> Pictures:
    """One of `RENDERINGS` of the pictures in `folder`, mapped into memory."""
    pixels = np.load(folder / f"{name}.npy", mmap_mode="r")
    return Pictures(pixels, presence([compose(STREAM, index) for index in range(len(pixels))]))


def presence(pictures: Sequence[Picture]) -> Mask:
    """Which concept is in which picture, bool `[len(pictures), len(CONCEPTS)]`."""
    return np.array([[concept in picture.concepts for concept in CONCEPTS] for picture in pictures])


def _render(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.empty((count, size, size, 3), dtype=np.uint8) for name, size in RENDERINGS.items()}
    with Pool() as pool:
        for index, drawn in enumerate(pool.imap(_draw, range(count), chunksize=64)):
            for name, pixels in drawn.items():
                arrays[name][index] = pixels
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def _draw(index: int) -> dict[str, Pixels]:
    picture = compose(STREAM, index)
    first = draw(picture, DRAWN_SIZE)
    second = draw(replace(picture, seed=f"{picture.seed}/{REDRAWN}"), DRAWN_SIZE)
    return {
        "clip": _scaled(first, CLIP_SIZE),
        "embedder": _scaled(first, EMBEDDER_SIZE),
        "embedder-redrawn": _scaled(second, EMBEDDER_SIZE),
    }


def _scaled(image: Image, size: int) -> Pixels:
    from PIL import Image

    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))
