"""Draw a heatmap over its picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from saeviz.pictures.rgb import to_rgb
from saeviz.values.images import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from saeviz.typing import Float32Array, FloatArray, Mask


VIRIDIS = (
    *((68, 1, 84), (72, 36, 117), (65, 68, 135), (53, 95, 141), (42, 120, 142), (33, 145, 140)),
    *((34, 168, 132), (68, 191, 112), (122, 209, 81), (189, 223, 38), (253, 231, 37)),
)
"""Every tenth colour of matplotlib's map (CC0), which is perceptually uniform, also with colour blindness."""
LONGEST, SHORTEST_LONG = 1024, 512
"""The allowed range of the longer side of a drawn picture; it is scaled only if outside."""
GREYED = 0.7
"""Desaturation of the picture under the map, so that only the map is coloured."""
STRENGTH = 0.8
"""Opacity of the map where the feature fires most."""
UNSEEN = 0.35
"""Brightness of parts that the model did not see."""
OUTLINE = 140
"""Grey level of the line around the field of view, for dark pictures."""
LEGEND_HEIGHT, LEGEND_WIDTH, FONT_SIZE = 28, 360, 13
MARK = ("Software", "saeviz heatmap")
"""A text entry in the files of heatmaps, so that runs do not use them as images."""


def is_heatmap(path: Path) -> bool:
    """Whether a file is a heatmap written by saeviz."""
    if path.suffix.lower() != ".png":
        return False
    try:
        with path.open("rb") as file:
            return "\0".join(MARK).encode() in file.read(256)
    except OSError:
        return False


def draw_heatmap(picture: Image, values: Float32Array, box: Box, *, smooth: bool = True, caption: str = "") -> Image:
    """Draw a map `[rows, cols]` over the picture: RGB, with a legend below.

    The map lies on `box`; what is outside of it is dim. `smooth` interpolates between the centres of cells, where
    it shows the exact values; otherwise every pixel has the value of its cell. Colours go from 0 to the map's maximum.
    """
    import numpy as np
    import PIL.Image

    shown = _at_a_good_size(to_rgb(picture))
    scale_x, scale_y = shown.width / picture.width, shown.height / picture.height
    across = _weights(shown.width, box[0] * scale_x, box[2] * scale_x, values.shape[1], smooth)
    down = _weights(shown.height, box[1] * scale_y, box[3] * scale_y, values.shape[0], smooth)
    peak = float(values.max())
    heat = down @ values @ across.T / peak if peak > 0 else down @ values @ across.T
    seen = np.outer(down.any(axis=1), across.any(axis=1))
    canvas = PIL.Image.new("RGB", (max(shown.width, LEGEND_WIDTH), shown.height + LEGEND_HEIGHT), "white")
    canvas.paste(PIL.Image.fromarray(_blend(shown, heat, seen)), (0, 0))
    _draw_legend(canvas, shown.height, peak, caption)
    return canvas


def _at_a_good_size(picture: Image) -> Image:
    longer = max(picture.size)
    scale = min(max(longer, SHORTEST_LONG), LONGEST) / longer
    return picture if scale == 1 else picture.resize([max(1, round(side * scale)) for side in picture.size])


def _weights(n_pixels: int, start: float, end: float, n_cells: int, smooth: bool) -> FloatArray:
    """`[n_pixels, n_cells]`: what each cell between `start` and `end` gives to each pixel; nothing outside."""
    import numpy as np

    place = (np.arange(n_pixels) + 0.5 - start) / (end - start) * n_cells
    inside = (place >= 0) & (place < n_cells)
    nearness = 1 - np.abs(np.clip(place - 0.5, 0, n_cells - 1)[:, None] - np.arange(n_cells))
    own = np.floor(place)[:, None] == np.arange(n_cells)
    weights: FloatArray = np.where(inside[:, None], np.maximum(nearness, 0) if smooth else own, 0.0)
    return weights


def _blend(shown: Image, heat: FloatArray, seen: Mask) -> NDArray[np.uint8]:
    import numpy as np

    pixels = np.asarray(shown, np.float64)
    grey = pixels.mean(-1, keepdims=True)
    under = pixels + GREYED * (grey - pixels)
    opacity = STRENGTH * heat[..., None]
    over = (1 - opacity) * under + opacity * colours(heat)
    unseen = np.where(_around(seen)[..., None], OUTLINE, UNSEEN * under)
    blended: NDArray[np.uint8] = np.where(seen[..., None], over, unseen).round().astype(np.uint8)
    return blended


def _around(seen: Mask) -> Mask:
    """The grid extended by the nearest row and column on each side."""
    import numpy as np

    wider = np.pad(seen, 1)
    taller: Mask = wider[:-2] | wider[1:-1] | wider[2:]
    return taller[:, :-2] | taller[:, 1:-1] | taller[:, 2:]


def colours(values: FloatArray) -> FloatArray:
    """RGB `[..., 3]` of values from 0 to 1."""
    import numpy as np

    stops = np.linspace(0, 1, len(VIRIDIS))
    return np.stack([np.interp(values, stops, channel) for channel in zip(*VIRIDIS, strict=True)], axis=-1)


def _draw_legend(canvas: Image, top: int, peak: float, caption: str) -> None:
    import numpy as np
    import PIL.Image
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(FONT_SIZE)
    middle = top + LEGEND_HEIGHT // 2
    bar = colours(np.tile(np.linspace(0, 1, 80), (10, 1))).round().astype(np.uint8)
    draw.text((8, middle), "0", "black", font, anchor="lm")
    canvas.paste(PIL.Image.fromarray(bar), (22, middle - 5))
    draw.text((108, middle), f"{peak:.3g}   {caption}", "black", font, anchor="lm")
