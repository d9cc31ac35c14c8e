"""Facts about a run as a whole: the definition, the cut-offs, and its embeddings."""

from __future__ import annotations

from collections.abc import Iterator

from saeviz import ScoreFact
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.baseline import cutoffs
from saeviz_monosemanticity.yardstick import Yardstick


def facts(options: MonosemanticityOptions, yardstick: Yardstick, draws: int, *, grouped: bool) -> Iterator[ScoreFact]:
    """The definition and the cut-offs in force, and what the run's first embedding is like."""
    baseline = yardstick.baseline
    yield ScoreFact("monosemanticity_definition", options.definition)
    if options.definition != "global":
        yield ScoreFact("monosemanticity_top_k", options.top_k)
    yield ScoreFact("monosemanticity_images", len(yardstick.unit))
    if baseline.n_pairs:
        yield ScoreFact("monosemanticity_baseline_mean", baseline.mean)
        yield ScoreFact("monosemanticity_baseline_sd", baseline.sd)
        yield ScoreFact("monosemanticity_baseline_pairs", baseline.n_pairs)
        yield ScoreFact("monosemanticity_thresholds", options.thresholds)
        yield ScoreFact("monosemanticity_cutoffs", list(cutoffs(options.thresholds, baseline)))
    by_draws = f"up to {draws:,} draws" + (", with as many images of a group" if grouped else "")
    yield ScoreFact("monosemanticity_p", by_draws if draws else "Pearson type III")


def facts_of_second(yardstick: Yardstick) -> Iterator[ScoreFact]:
    """The same of the second embedding, as far as it differs."""
    yield ScoreFact("monosemanticity_second_images", len(yardstick.unit))
    if yardstick.baseline.n_pairs:
        yield ScoreFact("monosemanticity_second_baseline_mean", yardstick.baseline.mean)
        yield ScoreFact("monosemanticity_second_baseline_sd", yardstick.baseline.sd)
        yield ScoreFact("monosemanticity_second_cutoffs", list(cutoffs("calibrated", yardstick.baseline)))
