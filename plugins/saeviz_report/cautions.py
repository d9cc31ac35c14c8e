"""What a reader must not miss: what a run lacks, and what its figures cannot be trusted for, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_report.explained import MOST_RATINGS, Explained
from saeviz_report.summary import RatingSummary, Summary, component_of, facts_of_main, sources_of
from saeviz_report.text import plain

if TYPE_CHECKING:
    import pandas as pd

FEW_IMAGES = 100
"""With fewer rated images, |r| has to be some .3 to be found even without a correction for many tests."""
UNRELIABLE = 0.7
"""Mean ratings less reliable than this limit any |r| with them to .84."""
MOST_MISSED = 0.4
"""The share of an image's variance, in the median, beyond which an SAE does not describe the images."""
NAMED = 5
_MISSES = "reconstruction_error."


def cautions(run: saeviz.Run, summary: Summary, correlations: pd.DataFrame, told: Explained) -> list[str]:
    """All of them; `correlations` are those of the main relation."""
    return [
        *_images(run, summary),
        *_relations(run, correlations),
        *_unreliable(told),
        *_sae(run),
        *_many(run),
        *_monosemanticity(run, summary),
        *_names(run, summary),
    ]


def _images(run: saeviz.Run, summary: Summary) -> Iterator[str]:
    if not run.items:
        yield "No image has features: see the failures below, and images.path in the run file."
    few = [rating for rating in summary.ratings if 0 < rating.n_images < FEW_IMAGES and rating.tested is not None]
    if few:
        counts = _listed([f"{rating.name} {rating.n_images}" for rating in few])
        yield f"Few images are rated ({counts}): only strong relations can be found{_detectable(few)}."


def _detectable(ratings: Sequence[RatingSummary]) -> str:
    known = [rating.detectable for rating in ratings if rating.detectable is not None]
    return f", with |r| of {max(known):.2f} in 80 of 100 cases" if known else ", and intervals are wide"


def _relations(run: saeviz.Run, correlations: pd.DataFrame) -> Iterator[str]:
    if not run.ratings:
        yield "The images have no ratings, so there are no correlations."
    elif "r" not in correlations:
        yield "No scorer of this run correlates features with the ratings; pearson-bh does."
    elif "significant" in correlations and "r_held_out" not in correlations:
        yield (
            "No images were held out: relations were found and measured on the same images, and none was replicated. "
            "To hold images out, set split in the scorer's table, for example split = 0.5."
        )


def _unreliable(told: Explained) -> Iterator[str]:
    for name, found in told.reliabilities.items():
        reliability = found["reliability"]
        if isinstance(reliability, int | float) and reliability < UNRELIABLE:
            yield (
                f"The mean ratings of {name} are not reliable ({reliability:.2f}): raters differ too much, or are too "
                f"few, for any |r| above {plain(found['ceiling_r'])}."
            )


def _sae(run: saeviz.Run) -> Iterator[str]:
    """What `saeviz check` would say of an SAE that does not belong to its model."""
    medians = {
        str(name).removeprefix(_MISSES): float(values.median())
        for name, values in run.images_table.items()
        if str(name).startswith(_MISSES)
    }
    missed = [f"{space} {100 * share:.0f} %" for space, share in medians.items() if share > MOST_MISSED]
    if missed:
        yield (
            f"SAEs miss much of the images (share of variance, median: {_listed(missed)}). `saeviz check` says whether "
            "model, layer and weights belong together."
        )
    given = [made_by.get("doubts") for made_by in sources_of(run)]
    if doubts := [doubt for some in given if isinstance(some, list) for doubt in some]:
        yield f"An SAE may not belong to its model, or is not used as it was trained ({_listed(doubts)})."


def _many(run: saeviz.Run) -> Iterator[str]:
    of_all = facts_of_main(run)
    if "kept_per_rating" in of_all:
        yield (
            f"All features were tested with all {len(run.ratings):,} ratings. The tables keep the strongest "
            f"{plain(of_all['kept_per_rating'])} correlations of each rating, the strongest "
            f"{plain(of_all['kept_per_feature'])} of each feature, and for each feature the number of ratings with "
            f"which it is significantly correlated. The report lists the {MOST_RATINGS} ratings with the strongest "
            "correlations."
        )


def _monosemanticity(run: saeviz.Run, summary: Summary) -> Iterator[str]:
    if "monosemanticity" not in run.scores:
        yield (
            "Monosemanticity was not measured: no scorer of this run computes it."
            if component_of(summary.config, "embeddings")
            else "Monosemanticity was not measured: it needs an independent embedding of the images, and the run file "
            "has no [embeddings] table."
        )


def _names(run: saeviz.Run, summary: Summary) -> Iterator[str]:
    config, facts = summary.config, run.facts
    if not run.selected:
        yield "No feature was selected: none passed the selector, or the run stopped before it."
    elif not component_of(config, "labeler"):
        yield "Features are unnamed: the run file has no [labeler] table."
    elif not summary.n_labelled:
        yield f"The labeler {component_of(config, 'labeler')} found a name for none of the features."
    elif not component_of(config, "judge"):
        yield "The names have not been judged: the run file has no [judge] table."
    elif reason := facts.get("judge_powerless"):
        yield f"No name is confirmed or struck out: {reason}. Another judge may have more power."
    elif guessed := facts.get("confirmed_by_guessing"):
        yield f"A judge that guessed, but said yes as often as this one, would confirm about {guessed:.1f} names."


def _listed(words: Sequence[Any]) -> str:
    more = f" and {len(words) - NAMED:,} more" if len(words) > NAMED else ""
    return ", ".join(map(str, words[:NAMED])) + more
