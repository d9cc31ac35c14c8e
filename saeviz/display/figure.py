"""The figure that all plots are drawn on, and its style, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saeviz.formats.plain import shortened

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""The colours of Okabe and Ito."""
GREY, INK, PALE = "#8f979f", "#20262c", "#d7dce1"
STYLE: Any = {
    "figure.facecolor": "white",
    "figure.dpi": 150,
    "savefig.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": INK,
    "axes.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.handletextpad": 0.3,
}
FILES: Any = {"savefig.dpi": 300, "svg.fonttype": "none", "pdf.fonttype": 42}
"""In files, letters stay letters."""
DASHES = (0, (4, 3))
MANY = 2000
"""Points of one scatter from which on they are pixels in a vector file, which would be megabytes otherwise."""


class Drawing(Figure):
    """A Matplotlib figure that a notebook displays exactly once, with any backend."""

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save the figure as Matplotlib does, with its letters as text and at 300 dots an inch by default."""
        with rc_context(FILES):
            super().savefig(fname, **kwargs)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


@contextmanager
def paper(width: float, height: float) -> Iterator[Drawing]:
    """A figure of this size in inches; what is drawn on it in the context has the style. Global settings stay."""
    with rc_context(STYLE):
        yield Drawing(figsize=(width, height), layout="constrained")


def words(text: str, longest: int = 36) -> str:
    """Text from outside for a figure: on one line, shortened, and not read as a formula."""
    return shortened(text, longest).replace("$", r"\$")


def size_of_points(n: int) -> float:
    """The area of each of `n` points."""
    return float(min(max(16000 / max(n, 1), 3), 16))


def line_at(axes: Axes, *, x: float | None = None, y: float | None = None, dashed: bool = False) -> None:
    """A thin line behind the points."""
    line_style = DASHES if dashed else "-"
    if x is not None:
        axes.axvline(x, color=GREY, linewidth=0.6, linestyle=line_style, zorder=0.5)
    if y is not None:
        axes.axhline(y, color=GREY, linewidth=0.6, linestyle=line_style, zorder=0.5)
