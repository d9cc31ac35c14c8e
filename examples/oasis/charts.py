"""Small SVG charts, written as text: a drawing, its axes and what stands on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

INK, MUTED, LINE = "#1a1f25", "#566170", "#dde2e8"
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass
class Drawing:
    """A white page of `width` x `height` pixels and the elements on it."""

    width: int
    height: int
    elements: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, fill: str = INK) -> None:
        """Words whose base line is at y."""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">'
            f"{escape(words)}</text>"
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], stroke: str = LINE, width: float = 1) -> None:
        """A straight one."""
        (x1, y1), (x2, y2) = start, end
        self.elements.append(
            f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{stroke}" stroke-width="{width}" fill="none"/>'
        )

    def bar(self, corner: tuple[float, float], size: tuple[float, float], fill: str, opacity: float = 1) -> None:
        """A filled rectangle."""
        (x, y), (width, height) = corner, size
        self.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" '
            f'opacity="{opacity:g}"/>'
        )

    def dots(self, points: Sequence[tuple[float, float]], fill: str, *, radius: float = 2, opacity: float = 1) -> None:
        """A dot at each point, all in one path."""
        where = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
        self.elements.append(
            f'<path d="{where}" stroke="{fill}" stroke-width="{2 * radius:g}" stroke-linecap="round" '
            f'opacity="{opacity:g}"/>'
        )

    def ring(self, x: float, y: float, stroke: str, radius: float = 4) -> None:
        """An empty circle."""
        self.elements.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="#fff" stroke="{stroke}" stroke-width="1.5"/>'
        )

    def write(self, path: Path, title: str) -> None:
        """The file; the title is what a screen reader says."""
        body = "\n".join(self.elements)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" font-family="{FONT}">\n<title>{escape(title)}</title>\n'
            f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n',
            encoding="utf-8",
        )


@dataclass(frozen=True)
class Scale:
    """Values of `domain` to pixels of `pixels`."""

    domain: tuple[float, float]
    pixels: tuple[float, float]

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        (low, high), (start, end) = self.domain, self.pixels
        return start + (value - low) / (high - low) * (end - start)


def _written(tick: float) -> str:
    return f"{tick:g}".replace("-", "\N{MINUS SIGN}")


def axis_below(drawing: Drawing, scale: Scale, ticks: Sequence[float], span: tuple[float, float], title: str) -> None:
    """Upright grid lines over `span` of pixels, their values and the title below."""
    top, bottom = span
    for tick in ticks:
        drawing.line((scale(tick), top), (scale(tick), bottom))
        drawing.text(scale(tick), bottom + 16, _written(tick), anchor="middle", size=11, fill=MUTED)
    drawing.text(sum(scale.pixels) / 2, bottom + 34, title, anchor="middle", fill=MUTED)


def axis_left(drawing: Drawing, scale: Scale, ticks: Sequence[float], span: tuple[float, float], title: str) -> None:
    """Level grid lines over `span` of pixels, their values on the left and the title above."""
    left, right = span
    for tick in ticks:
        drawing.line((left, scale(tick)), (right, scale(tick)))
        drawing.text(left - 6, scale(tick) + 4, _written(tick), anchor="end", size=11, fill=MUTED)
    drawing.text(left, min(scale.pixels) - 10, title, size=12, fill=MUTED)
