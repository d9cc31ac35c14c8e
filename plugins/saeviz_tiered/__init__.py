"""Selector `tiered`: interpretable and predictive features first, then a sample of all others."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

import saeviz

logger = logging.getLogger("saeviz")

FEWEST_HALVES = 20
Requirement = Literal["significant", "replicated"]


class TieredOptions(saeviz.Options):
    """Options of `tiered`. MS is the monosemanticity, |r| the strongest correlation with any rating."""

    limit: int = Field(default=200, ge=1, le=100_000, description="maximum number of features to select")
    ms_elite: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="tier 1 requires this MS and r_elite; default: the run's cut-off for monosemantic, 0.50 "
        "without one",
    )
    r_elite: float = Field(default=0.25, gt=0, le=1, description="tier 1 requires this |r| and ms_elite")
    ms_good: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="tier 2 requires this MS or r_good; default: the run's cut-off for moderate, 0.35 without one",
    )
    r_good: float = Field(default=0.15, gt=0, le=1, description="tier 2 requires this |r| or ms_good")
    require: Requirement | None = Field(
        default=None,
        description="which correlations count: `significant` ones, or those that `replicated` on held-out images; "
        "default: all that were tested",
    )
    diverse_share: float = Field(
        default=0.2, ge=0, le=1, description="share of the limit reserved for a sample of all other features"
    )
    min_active: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="leave out features that fire on fewer images, because their scores are unreliable",
    )
    one_per_cluster: bool = Field(
        default=True,
        description="select only the best of features that fire together (scorer redundancy), whatever its tier",
    )

    stability: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="repeat the selection with the correlations on this number of random halves of the images, or of "
        "whole groups, to see how often each feature is selected again; 0 for none, else at least 20, better 100",
    )

    def needed_columns(self) -> tuple[str, ...]:
        """What says which correlations meet the requirement."""
        return () if self.require is None else (f"*{self.require}",)

    @model_validator(mode="after")
    def _halves_suffice(self) -> TieredOptions:
        if 0 < self.stability < FEWEST_HALVES:
            raise ValueError(f"stability: {self.stability} halves are too few; use at least {FEWEST_HALVES}, or 0")
        return self

    @model_validator(mode="before")
    @classmethod
    def _read_old_name(cls, given: Any) -> Any:
        """The former option `require_significant`."""
        if not (isinstance(given, Mapping) and isinstance(given.get("require_significant"), bool)):
            return given
        kept = {name: value for name, value in given.items() if name != "require_significant"}
        logger.warning('selector.require_significant is now require = "significant"; the old name is still read')
        return {"require": "significant", **kept} if given["require_significant"] else kept


@saeviz.hookimpl
def saeviz_selectors() -> Iterator[saeviz.SelectorSpec]:
    """Offer `tiered`."""
    yield saeviz.SelectorSpec(
        name="tiered",
        summary="selects by monosemanticity and correlation, with a diverse sample of the rest",
        options=TieredOptions,
        cites=(
            saeviz.Citation(
                "Stability of the selection",
                "Meinshausen & B\N{LATIN SMALL LETTER U WITH DIAERESIS}hlmann (2010)",
                "Stability selection",
                "Journal of the Royal Statistical Society B, 72(4), 417\N{EN DASH}473",
                when="stability=[1-9]*",
            ),
        ),
        factory="saeviz_tiered.selector:TieredSelector",
    )
