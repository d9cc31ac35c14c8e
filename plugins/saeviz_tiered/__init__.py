"""Selector `tiered`: interpretable and predictive features first, then a sample of all others."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

import saeviz


class TieredOptions(saeviz.Options):
    """Options of `tiered`. MS is the monosemanticity, |r| the strongest correlation with any rating."""

    limit: int = Field(default=200, ge=1, le=100_000, description="how many features to select at most")
    ms_elite: float = Field(default=0.50, gt=0, le=1, description="tier 1 needs this MS and r_elite")
    r_elite: float = Field(default=0.25, gt=0, le=1, description="tier 1 needs this |r| and ms_elite")
    ms_good: float = Field(default=0.35, gt=0, le=1, description="tier 2 needs this MS or r_good")
    r_good: float = Field(default=0.15, gt=0, le=1, description="tier 2 needs this |r| or ms_good")
    require_significant: bool = Field(
        default=False, description="let only significant correlations count, not every one that was tested"
    )
    diverse_share: float = Field(
        default=0.2, ge=0, le=1, description="share of the limit kept for tier 3 even where tiers 1 and 2 could fill it"
    )
    min_active: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="leave out features that fire on fewer images: their scores are chance",
    )
    one_per_cluster: bool = Field(
        default=True,
        description="of features that fire together (scorer redundancy) select only the best, whatever its tier",
    )


@saeviz.hookimpl
def saeviz_selectors() -> Iterator[saeviz.SelectorSpec]:
    """Offer `tiered`."""
    yield saeviz.SelectorSpec(
        name="tiered",
        summary="by monosemanticity and correlation, with a diverse sample of the rest",
        options=TieredOptions,
        factory="saeviz_tiered.selector:TieredSelector",
    )
