"""Correlation with other variables held constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz import Context, ScoreInput
from saeviz_correlation.bootstrap import check_width
from saeviz_correlation.controls import Control, MadeFromRatings, control_columns
from saeviz_correlation.options import CATEGORY, PartialOptions
from saeviz_correlation.scorer import ProductMoment
from saeviz_correlation.targets import Targets, make_targets

if TYPE_CHECKING:
    from saeviz.typing import IntArray, Mask


class Partial(ProductMoment):
    """Pearson's r between the residuals of a feature and a rating after a linear fit to `control`.

    The fact `partial_control` says what was held constant, and whether as a number or as a category.

    See `ProductMoment` for the columns; p has one degree of freedom less per control (categories less one for a
    category), and so has the interval. Images without one of the controls are left out. By the theorem of Frisch,
    Waugh and Lovell it is the test of the feature's coefficient in a linear model with the controls; it takes sums of
    feature times control only. NaN also if the controls explain a feature or a rating completely.
    """

    name = "partial"
    prefix = "partial_"
    measure = "partial r"
    why_silent = "too few images have it and all controls, it never varies, or the controls explain it entirely"

    options: PartialOptions

    def __init__(self, options: PartialOptions, context: Context) -> None:
        super().__init__(options, context)
        self._words: list[str] = []
        self._made_from_ratings = MadeFromRatings(self.name, context.logger)

    def targets(
        self, data: ScoreInput, ratings: Sequence[str], images: Mask, within: IntArray | None = None
    ) -> list[Targets]:
        """Residuals of the ratings on these images."""
        controls = control_columns(data, self.options.control, "scorers.partial.control")
        values = np.hstack([control.values for control in controls])
        if self.options.bootstrap:
            check_width(values.shape[1], "scorers.partial")
        self._made_from_ratings.warn(data, [control.column for control in controls], ratings)
        self._tell(data, controls, images, int((images & ~np.isfinite(values).all(axis=1)).sum()))
        held = {control.column for control in controls}
        others = [name for name in ratings if name not in held]
        return list(make_targets(data, others, images, controls=values, within=within))

    def further_facts(self) -> Mapping[str, object]:
        """What was held constant, in words, and the kind of errors."""
        facts = super().further_facts()
        return {**facts, "control": [*self._words, *self._grouping.held_constant]}

    def _tell(self, data: ScoreInput, controls: Sequence[Control], images: Mask, left_out: int) -> None:
        logger = self.context.logger
        if not self._words:
            self._words = [control.words for control in controls]
            for control in controls:
                if control.codes:
                    logger.warning(
                        "partial: %s has %d different whole numbers and is held constant as a number, which removes "
                        'a linear effect only; if they are codes of categories, write control = ["%s%s"]',
                        control.column,
                        control.codes,
                        CATEGORY,
                        control.column,
                    )
        logger.info(
            "partial: %s held constant in %s; %d of %d images left out because a control is missing",
            ", ".join(self._words),
            data.space,
            left_out,
            int(images.sum()),
        )
