"""Which correlation a report shows, and how it is to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import saeviz

if TYPE_CHECKING:
    import pandas as pd

_MEANING = {
    "Pearson's r": "Pearson's correlation of the feature's activation with the rating",
    "Spearman's rho": "Spearman's rank correlation of the feature's activation with the rating",
    "point-biserial r": "The correlation of whether the feature is active, not how strongly, with the rating",
    "rank-biserial r": "Twice the area under the ROC curve, less 1, of the feature's activation for a rating that an "
    "image has (1) or has not (0)",
    "partial r": "The correlation of the feature's activation with the rating, other columns of the ratings table "
    "held constant",
}
_CORRECTION = {
    "bh": "adjusted by the procedure of Benjamini and Hochberg",
    "by": "adjusted by the procedure of Benjamini and Yekutieli",
    "bonferroni": "adjusted by Bonferroni's procedure",
    "max-t": "adjusted by permuting the ratings: how often the largest correlation of the family is then at least "
    "as large",
}
_FAMILY = {
    "run": "all tests of this run: every tested feature with every rating, in all layers and tokens together",
    "space": "every tested feature of the same layer and tokens, with every rating",
    "rating": "every tested feature, in all layers and tokens, with the same rating",
}


@dataclass(frozen=True)
class Method:
    """The main correlation of a run: its table, and in words what it is and how it is adjusted.

    `measures` has the name of every kind of correlation by what stands before the names of its columns, '' for the
    main one, `held_constant` likewise what partial ones hold constant. `share_found_on` is the share of images that
    found relations where others were held out, `n_groups` the number of groups of images that p and intervals allow
    for, None if they take images as independent; `errors` how they do; `margin` is the r below which one is negligible;
    `citations` are the methods that the run used, `infos` what is known of the columns of `correlations`.
    """

    correlations: pd.DataFrame
    measures: Mapping[str, str]
    meaning: str
    adjustment: str
    promise: str
    held_constant: Mapping[str, str]
    share_found_on: float | None
    n_groups: int | None
    errors: str | None
    margin: float | None
    citations: Sequence[saeviz.Citation]
    infos: Mapping[str, saeviz.ColumnInfo]

    @property
    def is_permuted(self) -> bool:
        """Whether p comes from permuted ratings."""
        return self.errors == "permutation"

    def caveat(self, n_active: float | None) -> str:
        """A caveat about the interval of a feature that fires on so many images, '' without one."""
        return saeviz.interval_caveat(n_active, self.errors, self.measure)

    @property
    def measure(self) -> str:
        """The name of the main correlation."""
        return self.measures.get("", "r")

    @property
    def has_held_out(self) -> bool:
        """Whether the main one was tested again on images that were held out."""
        return "r_held_out" in self.correlations

    @property
    def any_corrected(self) -> bool:
        """Whether any of them is corrected for having been found significant."""
        return any(f"{prefix}r_corrected" in self.correlations for prefix in self.measures)

    @property
    def any_held_out(self) -> bool:
        """Whether any of them was."""
        return any(f"{prefix}r_held_out" in self.correlations for prefix in self.measures)


def method_of(run: saeviz.Run) -> Method:
    """The correlation that a report shows; described in general terms if its scorer gives no facts."""
    prefixes = saeviz.relation_prefixes(run.correlations)
    facts = {prefix: saeviz.facts_of(prefix, run.facts) for prefix in prefixes}
    main = facts[prefixes[0]] if prefixes else saeviz.facts_of("", run.facts)
    kinds = {prefix: str(facts[prefix].get("measure", f"{prefix}r".replace("_", " "))) for prefix in prefixes}
    shown = {prefix: prefix if place else "" for place, prefix in enumerate(prefixes)}
    held = {prefix: saeviz.held_constant(prefix, run.facts) for prefix in prefixes}
    measures = {}
    for prefix, kind in kinds.items():
        is_twin = prefix and list(kinds.values()).count(kind) > 1
        name = f"{kind} ({prefix.removesuffix('_')})" if is_twin else kind
        measures[shown[prefix]] = f"{name} ({held[prefix]} held constant)" if held[prefix] else name
    correlations, known = saeviz.main_relation(run.correlations), run.columns["correlations"]
    infos = {name: known.get(f"{prefixes[0] if prefixes else ''}{name}") or known.get(name) for name in correlations}
    unknown = "The correlation of the feature's activation with the rating"
    return Method(
        correlations=correlations,
        infos={name: info for name, info in infos.items() if info is not None},
        measures=measures,
        held_constant={shown[prefix]: controls for prefix, controls in held.items() if controls},
        meaning=_MEANING.get(next(iter(kinds.values()), ""), unknown),
        adjustment=_adjustment(main),
        promise=_promise(main),
        share_found_on=main.get("split"),
        n_groups=main.get("groups") if main.get("errors") in ("clusters", "permutation") else None,
        errors=main.get("errors"),
        margin=main.get("margin"),
        citations=list(dict.fromkeys(chain.from_iterable(run.citations.values()))),
    )


def _adjustment(facts: Mapping[str, Any]) -> str:
    correction = _CORRECTION.get(str(facts.get("correction")), "adjusted for the number of tests")
    family = _FAMILY.get(str(facts.get("family")), "the tests of this run")
    return f"{correction} over {family}"


def _promise(facts: Mapping[str, Any]) -> str:
    alpha = facts.get("alpha")
    if alpha is None or facts.get("correction") not in _CORRECTION:
        return ""
    if facts["correction"] in ("bh", "by"):
        return f"Among all pairs with q up to {alpha:g}, at most about {100 * alpha:g} % are expected to be chance."
    return f"The chance that even one pair with q up to {alpha:g} is an accident is at most {100 * alpha:g} %."
