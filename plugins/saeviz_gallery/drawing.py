"""Draw a picture from its concepts. No fonts, no files: shapes, colours and noise only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from math import cos, pi, sin
from typing import TYPE_CHECKING

from saeviz_gallery.concepts import Dice, Picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Range = tuple[float, float]

DRAWING = 1
"""Increase it when a change makes `draw` give other pixels, so that runs extract the pictures again."""

_OVERSAMPLING = 2
_HUE_SATURATION_VALUE: dict[str, tuple[Range, Range, Range]] = {
    "warm": ((0.0, 0.14), (0.65, 1.0), (0.55, 1.0)),
    "cold": ((0.5, 0.72), (0.5, 1.0), (0.35, 1.0)),
    "pastel": ((0.0, 1.0), (0.12, 0.38), (0.88, 1.0)),
    "dark": ((0.0, 1.0), (0.3, 0.9), (0.03, 0.4)),
    "monochrome": ((0.0, 0.0), (0.0, 0.0), (0.08, 0.97)),
    "vivid": ((0.0, 1.0), (0.9, 1.0), (0.8, 1.0)),
}


def draw(picture: Picture, size: int) -> Image:
    """The picture as RGB, `size` pixels square."""
    from PIL import Image, ImageDraw

    side = size * _OVERSAMPLING
    dice = Dice(picture.seed + "/drawing")
    image = Image.new("RGB", (side, side))
    canvas = _Canvas(image, ImageDraw.Draw(image), side, dice, picture.palette)
    _GROUNDS[picture.ground](canvas, picture.parts)
    if "dots" in picture.extras:
        _dots(canvas)
    if "clutter" in picture.extras:
        _clutter(canvas)
    for shape in picture.shapes:
        _several(canvas, _SHAPES[shape])
    if "spiral" in picture.extras:
        _spiral(canvas)
    image = image.reduce(_OVERSAMPLING)
    if "noise" in picture.extras:
        image = _with_noise(image, dice)
    return _mirrored(image) if "symmetry" in picture.extras else image


@dataclass
class _Canvas:
    """A canvas in units of the picture's side, with the colours of one palette."""

    image: Image
    pen: ImageDraw
    side: int
    dice: Dice
    palette: str
    ground: Colour = (0, 0, 0)

    def colour(self) -> Colour:
        hue, saturation, value = _HUE_SATURATION_VALUE[self.palette]
        between = self.dice.between
        red, green, blue = hsv_to_rgb(between(*hue), between(*saturation), between(*value))
        return round(255 * red), round(255 * green), round(255 * blue)

    def contrasting(self, other: Colour, candidates: int = 8) -> Colour:
        """The colour, of some in the palette, that differs most from `other`."""
        return max((self.colour() for _ in range(candidates)), key=lambda colour: _difference(colour, other))

    def fill(self, colour: Colour) -> None:
        self.ground = colour
        self.pen.rectangle((0, 0, self.side, self.side), fill=colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.pen.polygon([(round(x * self.side), round(y * self.side)) for x, y in points], fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        left, top, right, bottom = ((v * self.side) for v in (x - radius, y - radius, x + radius, y + radius))
        self.pen.ellipse((round(left), round(top), round(right), round(bottom)), fill=colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        pixels = [(round(x * self.side), round(y * self.side)) for x, y in points]
        self.pen.line(pixels, fill=colour, width=max(1, round(width * self.side)), joint="curve")

    def shade(self, first: Colour, last: Colour, angle: float) -> None:
        """Fill with a gradient that runs from `first` to `last` in the direction of `angle`."""
        import numpy as np
        from PIL import Image

        steps = 64
        ramp = (np.arange(steps) + 0.5) / steps - 0.5
        along = ramp[None, :] * cos(angle) + ramp[:, None] * sin(angle)
        share = (along / (abs(cos(angle)) + abs(sin(angle))) + 0.5)[:, :, None]
        pixels = np.rint((1 - share) * np.array(first) + share * np.array(last)).astype(np.uint8)
        full = Image.fromarray(pixels).resize((self.side, self.side), Image.Resampling.BILINEAR)
        self.image.paste(full, (0, 0))
        self.ground = first


def _difference(a: Colour, b: Colour) -> int:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def _around(x: float, y: float, radius: float, angle: float, corners: int) -> list[Point]:
    turns = (angle + 2 * pi * corner / corners for corner in range(corners))
    return [(x + radius * cos(turn), y + radius * sin(turn)) for turn in turns]


# Grounds


def _plain(canvas: _Canvas, _parts: Sequence[str]) -> None:
    canvas.fill(canvas.colour())


def _gradient(canvas: _Canvas, _parts: Sequence[str]) -> None:
    first = canvas.colour()
    canvas.shade(first, canvas.contrasting(first), canvas.dice.between(0, 2 * pi))


def _stripes(canvas: _Canvas, _parts: Sequence[str]) -> None:
    canvas.fill(canvas.colour())
    colour = canvas.contrasting(canvas.ground)
    angle, period = canvas.dice.between(0, pi), canvas.dice.between(0.11, 0.2)
    along, across = (cos(angle), sin(angle)), (-sin(angle), cos(angle))
    offset = -0.8
    while offset < 0.8:
        canvas.polygon(
            [
                (0.5 + u * along[0] + v * across[0], 0.5 + u * along[1] + v * across[1])
                for u, v in (
                    (-1, offset),
                    (1, offset),
                    (1, offset + period / 2),
                    (-1, offset + period / 2),
                )
            ],
            colour,
        )
        offset += period


def _grid(canvas: _Canvas, _parts: Sequence[str]) -> None:
    canvas.fill(canvas.colour())
    colour = canvas.contrasting(canvas.ground)
    period, width = canvas.dice.between(0.11, 0.2), canvas.dice.between(0.015, 0.03)
    place = canvas.dice.between(0, period)
    while place < 1:
        canvas.line([(place, 0), (place, 1)], width, colour)
        canvas.line([(0, place), (1, place)], width, colour)
        place += period


def _checkerboard(canvas: _Canvas, _parts: Sequence[str]) -> None:
    canvas.fill(canvas.colour())
    colour = canvas.contrasting(canvas.ground)
    cells = canvas.dice.pick((5, 6, 7, 8, 9))
    for row in range(cells):
        for column in range(row % 2, cells, 2):
            x, y, step = column / cells, row / cells, 1 / cells
            canvas.polygon([(x, y), (x + step, y), (x + step, y + step), (x, y + step)], colour)


def _waves(canvas: _Canvas, _parts: Sequence[str]) -> None:
    canvas.fill(canvas.colour())
    colours = (canvas.contrasting(canvas.ground), canvas.ground)
    bands = canvas.dice.pick((5, 6, 7, 8))
    height, length = canvas.dice.between(0.03, 0.06), canvas.dice.between(0.2, 0.45)
    phase = canvas.dice.between(0, 2 * pi)
    for band in range(bands):
        top = (band + 0.5) / bands
        crest = [
            (step / 48, top + height * sin(phase + 2 * pi * step / 48 / length + 0.4 * band)) for step in range(49)
        ]
        canvas.polygon([*crest, (1, 1.2), (0, 1.2)], colours[band % 2])


def _rays(canvas: _Canvas, _parts: Sequence[str]) -> None:
    canvas.fill(canvas.colour())
    colour = canvas.contrasting(canvas.ground)
    x, y, wedges = canvas.dice.between(0.25, 0.75), canvas.dice.between(0.25, 0.75), canvas.dice.pick((9, 11, 13, 15))
    rim = _around(x, y, 1.5, canvas.dice.between(0, pi), 2 * wedges)
    for wedge in range(wedges):
        canvas.polygon([(x, y), rim[2 * wedge], rim[2 * wedge + 1]], colour)


def _landscape(canvas: _Canvas, parts: Sequence[str]) -> None:
    dice = canvas.dice
    sky = max((canvas.colour() for _ in range(4)), key=sum)
    horizon = dice.between(0.5, 0.65)
    canvas.shade(sky, canvas.colour(), pi / 2)
    if "sun" in parts:
        sun = max((canvas.contrasting(sky) for _ in range(3)), key=sum)
        canvas.disc(dice.between(0.15, 0.85), dice.between(0.12, 0.3), dice.between(0.07, 0.11), sun)
    land = canvas.contrasting(sky)
    if "hills" in parts:
        for _ in range(3):
            x, width = dice.between(0, 1), dice.between(0.25, 0.5)
            peak = horizon - dice.between(0.12, 0.26)
            canvas.polygon([(x - width, horizon), (x, peak), (x + width, horizon)], canvas.contrasting(sky))
    canvas.polygon([(0, horizon), (1, horizon), (1, 1), (0, 1)], land)
    if "sea" in parts:
        _sea(canvas, horizon, canvas.contrasting(land))
    if "trees" in parts:
        _trees(canvas, horizon, canvas.contrasting(land))


def _sea(canvas: _Canvas, horizon: float, glint: Colour) -> None:
    for _ in range(26):
        x, y = canvas.dice.between(-0.1, 1), canvas.dice.between(horizon + 0.02, 1)
        canvas.line([(x, y), (x + canvas.dice.between(0.08, 0.25), y)], 0.014, glint)


def _trees(canvas: _Canvas, horizon: float, colour: Colour) -> None:
    trunk = canvas.contrasting(colour)
    for _ in range(canvas.dice.pick((3, 4, 5, 6))):
        x, foot = canvas.dice.between(0.08, 0.92), canvas.dice.between(horizon + 0.1, 0.95)
        height = canvas.dice.between(0.22, 0.34)
        canvas.line([(x, foot), (x, foot - height / 2)], 0.025, trunk)
        for level in (0.3, 0.55):
            base, half = foot - level * height, (0.8 - level) * height * 0.7
            canvas.polygon([(x - half, base), (x + half, base), (x, base - height * 0.5)], colour)


_GROUNDS: dict[str, Callable[[_Canvas, Sequence[str]], None]] = {
    "plain": _plain,
    "gradient": _gradient,
    "landscape": _landscape,
    "stripes": _stripes,
    "grid": _grid,
    "checkerboard": _checkerboard,
    "waves": _waves,
    "rays": _rays,
}


# Shapes

_Shape = Callable[[_Canvas, float, float, float, float, Colour], None]


def _several(canvas: _Canvas, shape: _Shape) -> None:
    """A few copies of a shape, with an outline that keeps them apart from a busy ground."""
    dice = canvas.dice
    colour = canvas.contrasting(canvas.ground, 12)
    for x, y in dice.pick_several(_PLACES, dice.pick((2, 3, 4))):
        radius, angle = dice.between(0.1, 0.16), dice.between(0, 2 * pi)
        shape(canvas, x + dice.between(-0.06, 0.06), y + dice.between(-0.06, 0.06), radius, angle, colour)


_PLACES: tuple[Point, ...] = tuple((x, y) for y in (0.2, 0.5, 0.8) for x in (0.2, 0.5, 0.8))


def _circle(canvas: _Canvas, x: float, y: float, radius: float, _angle: float, colour: Colour) -> None:
    canvas.disc(x, y, radius + 0.015, canvas.ground)
    canvas.disc(x, y, radius, colour)


def _ring(canvas: _Canvas, x: float, y: float, radius: float, _angle: float, colour: Colour) -> None:
    canvas.disc(x, y, radius, colour)
    canvas.disc(x, y, radius * 0.6, canvas.ground)


def _square(canvas: _Canvas, x: float, y: float, radius: float, angle: float, colour: Colour) -> None:
    tilt = pi / 4 + 0.15 * sin(angle)
    canvas.polygon(_around(x, y, radius * 1.2 + 0.02, tilt, 4), canvas.ground)
    canvas.polygon(_around(x, y, radius * 1.2, tilt, 4), colour)


def _triangle(canvas: _Canvas, x: float, y: float, radius: float, angle: float, colour: Colour) -> None:
    canvas.polygon(_around(x, y, radius * 1.25 + 0.03, angle, 3), canvas.ground)
    canvas.polygon(_around(x, y, radius * 1.25, angle, 3), colour)


def _star(canvas: _Canvas, x: float, y: float, radius: float, angle: float, colour: Colour) -> None:
    outer, inner = _around(x, y, radius * 1.3, angle, 5), _around(x, y, radius * 0.5, angle + pi / 5, 5)
    canvas.polygon([point for pair in zip(outer, inner, strict=True) for point in pair], colour)


def _cross(canvas: _Canvas, x: float, y: float, radius: float, angle: float, colour: Colour) -> None:
    tilt = 0.2 * sin(angle)
    for turn in (tilt, tilt + pi / 2):
        dx, dy = radius * 1.1 * cos(turn), radius * 1.1 * sin(turn)
        nx, ny = -0.3 * dy, 0.3 * dx
        corners = [(x + dx + nx, y + dy + ny), (x + dx - nx, y + dy - ny)]
        canvas.polygon([*corners, (x - dx - nx, y - dy - ny), (x - dx + nx, y - dy + ny)], colour)


_SHAPES: dict[str, _Shape] = {
    "circles": _circle,
    "squares": _square,
    "triangles": _triangle,
    "stars": _star,
    "rings": _ring,
    "crosses": _cross,
}


# Extras


def _dots(canvas: _Canvas) -> None:
    colour = canvas.contrasting(canvas.ground, 12)
    spacing, radius = canvas.dice.between(0.075, 0.1), canvas.dice.between(0.016, 0.022)
    n = int(1 / spacing) + 1
    for row in range(n):
        for column in range(n):
            canvas.disc((column + 0.5 * (row % 2)) * spacing, (row + 0.5) * spacing, radius, colour)


def _clutter(canvas: _Canvas) -> None:
    """Small fragments of all shapes, scattered over the picture."""
    dice = canvas.dice
    colours = [canvas.contrasting(canvas.ground, 3) for _ in range(6)]
    for _ in range(150):
        x, y, size = dice.random(), dice.random(), dice.between(0.02, 0.07)
        if dice.chance(0.5):
            turn = dice.between(0, pi)
            canvas.line([(x, y), (x + 2 * size * cos(turn), y + 2 * size * sin(turn))], 0.014, dice.pick(colours))
        else:
            corners = [(x + dice.between(-size, size), y + dice.between(-size, size)) for _ in range(4)]
            canvas.polygon(corners, dice.pick(colours))


def _spiral(canvas: _Canvas) -> None:
    dice = canvas.dice
    colour = canvas.contrasting(canvas.ground, 12)
    x, y, radius = dice.between(0.4, 0.6), dice.between(0.4, 0.6), dice.between(0.3, 0.42)
    turns, start, steps = dice.between(3, 4), dice.between(0, 2 * pi), 150
    way = [
        (x + radius * t * cos(start + 2 * pi * turns * t), y + radius * t * sin(start + 2 * pi * turns * t))
        for t in (step / steps for step in range(steps + 1))
    ]
    canvas.line(way, 0.035, colour)


def _with_noise(image: Image, dice: Dice) -> Image:
    """Grain of about a seventieth of the side, the same in all three channels."""
    import numpy as np
    from PIL import Image

    grains = 72
    rng = np.random.Generator(np.random.PCG64(int(dice.random() * 2**53)))
    grain = ((rng.random((grains, grains)) - 0.5) * dice.between(110, 170)).astype(np.int16)
    rows = np.arange(image.height) * grains // image.height
    pixels = np.asarray(image, dtype=np.int16) + grain[rows][:, rows][:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _mirrored(image: Image) -> Image:
    """The left half and its reflection."""
    from PIL import Image

    half = image.crop((0, 0, (image.width + 1) // 2, image.height))
    mirrored = image.copy()
    mirrored.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (image.width - half.width, 0))
    return mirrored
