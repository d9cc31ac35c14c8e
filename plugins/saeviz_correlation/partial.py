"""Correlation with something else held constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz import Context, ScoreInput
from saeviz_correlation import PartialOptions
from saeviz_correlation.controls import control_columns
from saeviz_correlation.scorer import CorrelationScorer
from saeviz_correlation.targets import Targets, make_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Partial(CorrelationScorer):
    """Pearson's r between what `control` does not explain linearly of a feature, and what it does not of a rating.

    See `CorrelationScorer` for the columns; p has one degree of freedom less per control (categories less one for a
    category), and so has the interval. Images without one of the controls are left out. By the theorem of Frisch,
    Waugh and Lovell it is the test of the feature's coefficient in a linear model with the controls; it takes sums of
    feature times control only. NaN also where the controls explain a feature or a rating wholly.
    """

    name = "partial"
    prefix = "partial_"
    measure = "partial r"
    why_silent = "too few images have it and all controls, it never varies, or the controls explain it wholly"

    options: PartialOptions

    def __init__(self, options: PartialOptions, context: Context) -> None:
        super().__init__(options, context)

    def targets(self, data: ScoreInput, ratings: Sequence[str], images: NDArray[np.bool_]) -> list[Targets]:
        """What is left of the ratings on these images."""
        controls, words = control_columns(data, self.options.control, "scorers.partial.control")
        left_out = int((images & ~np.isfinite(controls).all(axis=1)).sum())
        self.context.logger.info(
            "partial: %s held constant in %s; %d of %d images left out for want of it",
            ", ".join(words),
            data.space,
            left_out,
            int(images.sum()),
        )
        others = [name for name in ratings if name not in self.options.control]
        return list(make_targets(data, others, images, controls=controls))
