"""Scores to probabilities. The constants are what `python -m saeviz_clip_vocabulary.calibrate` printed.

They were fitted on drawn pictures and the miniature CLIP of `saeviz demo`, where it is known which picture shows what.
On other pictures drawn in the same way they hold: of the names with a confidence of about 0.13, 0.30, 0.51, 0.71 and
0.96 the shares 0.12, 0.33, 0.54, 0.70 and 0.95 are right. Nobody has measured it for a real CLIP and photographs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


class Logistic(NamedTuple):
    """1 / (1 + exp(-(offset + slope * x)))."""

    offset: float
    slope: float

    def __call__(self, x: FloatArray | float) -> FloatArray:
        """The probability, of the shape of `x`."""
        import numpy as np

        found: FloatArray = 1 / (1 + np.exp(-np.clip(self.offset + self.slope * np.asarray(x), -500, 500)))
        return found


NAME_IS_RIGHT = Logistic(-2.634, 4.772)
"""For a name: its score minus the score that chance reaches."""
TERM_APPLIES = Logistic(-2.531, 3.555)
"""For an image: its similarity to a term, in standard deviations above the mean of random images."""
