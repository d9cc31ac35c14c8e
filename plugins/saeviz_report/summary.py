"""What is said about the run as a whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz_report.explained import MOST_RATINGS, ceilings_of
from saeviz_report.text import NO_VALUE, plain

if TYPE_CHECKING:
    import pandas as pd


_FOUND = ("significant", "replicated", "negligible")
_VERDICTS = ("confirmed", "fails", "undecided", "not judged")
_UNBIASED = [f"{name}_{part}" for part in ("held_out", "corrected") for name in ("r", "ci_low", "ci_high")]


@dataclass(frozen=True)
class RatingSummary:
    """One rating: its distribution over the images, and how many features go along with it.

    `tested` counts the features in the family of tests, `positive` and `negative` the significant ones
    by sign, `replicated` those of them that held-out images confirm; `strongest` is the r of the largest size, and
    `unbiased` the same r with its interval after selection: on the held-out images, or corrected for being significant.
    `detectable` is the r found with a power of 80 %, `negligible` counts features shown to have next to none, `ceiling`
    is what noise in the rating limits r to. All are None where no scorer gave them.
    """

    name: str
    n_images: int
    mean: float | None
    sd: float | None
    tested: int | None
    positive: int | None
    negative: int | None
    strongest: float | None
    replicated: int | None = None
    unbiased: tuple[float, float | None, float | None] | None = None
    detectable: float | None = None
    negligible: int | None = None
    ceiling: float | None = None


@dataclass(frozen=True)
class SpaceSummary:
    """One feature space: how many features it has, fire on an image at all, and were selected."""

    name: str
    n_features: int
    n_live: int | None
    n_selected: int


@dataclass(frozen=True)
class StageSummary:
    """One stage of the run as the manifest tells it, its plain counts only; None and empty where it does not."""

    name: str
    seconds: float | None
    counts: Mapping[str, Any]
    finished: str


@dataclass(frozen=True)
class Summary:
    """The run at a glance; `monosemanticity` says in a sentence each by what its scores are to be judged."""

    n_images: int
    tiers: Mapping[int, int]
    n_labelled: int
    verdicts: Mapping[str, int]
    ratings: Sequence[RatingSummary]
    spaces: Sequence[SpaceSummary]
    monosemanticity: Sequence[str]
    facts: Mapping[str, Any]
    stages: Sequence[StageSummary]
    config: Mapping[str, Any]
    versions: Mapping[str, str]


def summarise(run: saeviz.Run, correlations: pd.DataFrame) -> Summary:
    """The summary of a run whose features were selected, with the main of its correlations.

    What its manifest does not tell is left out.
    """
    config = recorded(run, "config")
    return Summary(
        n_images=len(run.items),
        tiers=dict(sorted(Counter(selected.tier for selected in run.selected).items())),
        n_labelled=sum(1 for selected in run.selected if _has_name(run, selected.feature)),
        verdicts=_verdicts(run),
        ratings=_most_telling(list(_ratings(run, correlations))),
        spaces=[_space(run, space) for space in run.spaces],
        monosemanticity=_monosemanticity(run.facts),
        facts=_facts(run),
        stages=[_stage(name, entry or {}) for name, entry in recorded(run, "stages").items()],
        config=config,
        versions=recorded(run, "versions"),
    )


def recorded(run: saeviz.Run, *names: str) -> Mapping[str, Any]:
    """The table of the manifest that has these names, one within the other; empty if a stranger's has none there."""
    found: Any = run.manifest
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def extractors_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tables of the run's extractors, without the names that the run gives them."""
    several = config.get("extractors")
    tables = several if isinstance(several, list) else [config.get("extractor")]
    return [
        {option: value for option, value in table.items() if option != "name"}
        for table in tables
        if isinstance(table, Mapping)
    ]


def sources_of(run: saeviz.Run) -> list[Mapping[str, Any]]:
    """What each extractor of the run has recorded of the model and the files that it used."""
    known = recorded(run, "stages", "extract", "provenance")
    several = isinstance(recorded(run, "config").get("extractors"), list)
    return [one for one in (known.values() if several else [known]) if isinstance(one, Mapping)]


def component_of(config: Mapping[str, Any], role: str) -> str:
    """The name of the component that fills a role, or the names of several; '' where none does."""
    if role == "extractor":
        return " and ".join(dict.fromkeys(str(table.get("use") or "") for table in extractors_of(config)))
    table = config.get(role)
    name = str(table.get("use") or "") if isinstance(table, Mapping) else ""
    return "" if name == "none" else name


def _verdicts(run: saeviz.Run) -> dict[str, int]:
    """How many names are confirmed, fail, are undecided, or could not be judged; empty without a judge."""
    counts = Counter(run.judgements["verdict"])
    return {verdict: counts[verdict] for verdict in _VERDICTS} if counts else {}


def _has_name(run: saeviz.Run, feature: saeviz.Feature) -> bool:
    label = run.labels.get(feature)
    return label is not None and bool(label.label)


def _ratings(run: saeviz.Run, correlations: pd.DataFrame) -> Iterator[RatingSummary]:
    figures = [column for column in ("rating", "r", "q", *_FOUND, *_UNBIASED) if column in correlations]
    own = dict(iter(correlations[figures].groupby("rating", observed=True))) if "r" in correlations else {}
    of_all, ceilings = facts_of_main(run), ceilings_of(run)
    for name in run.ratings:
        summary = replace(_rating(run, own.get(name, correlations[:0]), name), ceiling=ceilings.get(name))
        if "kept_per_rating" not in of_all:
            yield summary
            continue
        tested, positive, significant = (of_all.get(f"{kind}_{name}") for kind in ("tested", "positive", "significant"))
        negative = significant - positive if isinstance(significant, int) and isinstance(positive, int) else None
        yield replace(summary, tested=tested, positive=positive, negative=negative)


def _most_telling(ratings: list[RatingSummary]) -> list[RatingSummary]:
    """All, or of many those with the strongest correlation, strongest first."""
    if len(ratings) <= MOST_RATINGS:
        return ratings
    return sorted(ratings, key=lambda rating: -abs(rating.strongest or 0.0))[:MOST_RATINGS]


def _facts(run: saeviz.Run) -> dict[str, Any]:
    """The facts, of many ratings only those about all."""
    facts = {name: value for name, value in run.facts.items() if value not in (None, "")}
    if len(run.ratings) <= MOST_RATINGS:
        return facts
    ends = tuple(f"_{name}" for name in run.ratings)
    return {name: value for name, value in facts.items() if not name.endswith(ends)}


def facts_of_main(run: saeviz.Run) -> Mapping[str, Any]:
    """The facts of the main correlation."""
    return saeviz.facts_of(next(iter(saeviz.relation_prefixes(run.correlations.columns)), ""), run.facts)


def _rating(run: saeviz.Run, related: pd.DataFrame, name: str) -> RatingSummary:
    values = run.ratings_table[name].dropna().tolist()
    n = len(values)
    mean = math.fsum(values) / n if n else None
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if mean is not None and n > 1 else None
    if "r" not in related:
        return RatingSummary(name, n, mean, sd, None, None, None, None)
    # What has no q was left out of the family: too few active images.
    tested = related[related["q" if "q" in related else "r"].notna()]
    r = tested["r"]
    significant = r[tested["significant"] == 1] if "significant" in tested else None
    return RatingSummary(
        name=name,
        n_images=n,
        mean=mean,
        sd=sd,
        tested=len(r),
        positive=None if significant is None else int((significant > 0).sum()),
        negative=None if significant is None else int((significant < 0).sum()),
        strongest=float(r[r.abs().idxmax()]) if len(r) else None,
        replicated=_count(tested, "replicated"),
        unbiased=_unbiased(tested.loc[r.abs().idxmax()]) if len(r) else None,
        detectable=_detectable(run, name),
        negligible=_count(tested, "negligible"),
    )


def _count(tested: pd.DataFrame, verdict: str) -> int | None:
    return int((tested[verdict] == 1).sum()) if verdict in tested else None


def _unbiased(row: pd.Series[float]) -> tuple[float, float | None, float | None] | None:
    """The r of a feature and its interval after selection: where images were held out on these, else corrected."""
    part = "held_out" if "r_held_out" in row else "corrected"
    r, low, high = (float(row.get(f"{name}_{part}", math.nan)) for name in ("r", "ci_low", "ci_high"))
    if math.isnan(r):
        return None
    return (r, None, None) if math.isnan(low) or math.isnan(high) else (r, low, high)


def _detectable(run: saeviz.Run, rating: str) -> float | None:
    found = facts_of_main(run).get(f"detectable_{rating}")
    return float(found) if isinstance(found, int | float) else None


def _space(run: saeviz.Run, space: saeviz.FeatureSpace) -> SpaceSummary:
    live = None
    if "n_active" in run.scores:
        live = int((saeviz.rows_in(run.scores, space)["n_active"] > 0).sum())
    chosen = [choice for choice in run.selected if choice.feature in space]
    return SpaceSummary(str(space), space.n_features, live, len(chosen))


def _stage(name: str, entry: Mapping[str, Any]) -> StageSummary:
    return StageSummary(
        name=name,
        seconds=entry.get("seconds"),
        counts={name: count for name, count in (entry.get("counts") or {}).items() if not isinstance(count, Mapping)},
        finished=str(entry.get("finished") or "").replace("T", " ").replace("+00:00", " UTC"),
    )


def _monosemanticity(facts: Mapping[str, Any]) -> list[str]:
    fact = {
        name.removeprefix("monosemanticity_"): plain(value)
        for name, value in facts.items()
        if name.startswith("monosemanticity_")
    }
    sentences = []
    if "baseline_mean" in fact and "baseline_sd" in fact:
        sentences.append(
            f"Two random images of this run have a similarity of {fact['baseline_mean']} (SD {fact['baseline_sd']}, "
            f"{fact.get('baseline_pairs', 'some')} pairs)."
        )
    if "cutoffs" in fact:
        moderate, _, monosemantic = fact["cutoffs"].partition(", ")
        sentences.append(
            f"A feature is called moderate from {moderate}, monosemantic from {monosemantic} "
            f"(cut-offs: {fact.get('thresholds', 'given')}; definition: {fact.get('definition', 'not given')})."
        )
    if "above_chance" in fact and "family_size" in fact:
        sentences.append(
            f"{fact['above_chance']} of {fact['family_size']} features are more alike than random images with the same "
            f"weights (q ≤ 0.05; p from {fact.get('p', 'the null')})."
        )
    if "agreement_spearman" in fact:
        sentences.append(
            f"With the second embedding the scores of {fact.get('agreement_features', 'the')} features agree with "
            f"Spearman's r {fact['agreement_spearman']} and Pearson's r {fact.get('agreement_pearson', NO_VALUE)}; the "
            f"share of features in the same class, each by its own calibrated cut-offs, is "
            f"{fact.get('agreement_same_class', NO_VALUE)}."
        )
    return sentences
