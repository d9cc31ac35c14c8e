"""Writes the tables of a document from the runs: each stands below a line `<!-- NAME -->` and is replaced.

python tables.py ../../docs/tutorial/oasis.md
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

import saeviz

RUNS = Path(__file__).parent / "runs"
CORRECTIONS = {"bh": "oasis", "by": "oasis-by", "bonferroni": "oasis-bonferroni", "max-t": "oasis-max-t"}
SPACES = ("patch-max", "cls")
TOP = 10
MIN_ACTIVE = 10

Row = Sequence[object]


def significant(runs: Path) -> Iterator[Row]:
    """How many features are associated with each rating, by each correction."""
    yield ("tokens", "rating", "tested", "`bh`", "of these r > 0", "`by`", "`bonferroni`", "`max-t`", "largest r")
    opened = {correction: saeviz.open_run(runs / name) for correction, name in CORRECTIONS.items()}
    for tokens in SPACES:
        for rating in opened["bh"].ratings:
            of = {name: _family(run, tokens, rating) for name, run in opened.items()}
            found = {name: int(table["significant"].sum()) for name, table in of.items()}
            positive = int((of["bh"]["r"][of["bh"]["significant"] == 1] > 0).sum())
            strongest = of["bh"]["r"][of["bh"]["r"].abs().idxmax()]
            counts = (found["bh"], positive, found["by"], found["bonferroni"], found["max-t"])
            yield (tokens, rating, len(of["bh"]), *counts, _signed(strongest))


def top(runs: Path, rating: str) -> Iterator[Row]:
    """The features most strongly correlated with a rating."""
    yield ("feature", "words of the labeler", "fires on", "r", "95 % interval", "Spearman", "partial r", "MS")
    run = saeviz.open_run(runs / "oasis")
    found = strongest(run, rating)
    for feature, row in zip(saeviz.features_of(found), found.itertuples(), strict=True):
        label = run.labels.get(feature)
        scores = run.scores[(run.scores["tokens"] == row.tokens) & (run.scores["feature"] == row.feature)].iloc[0]
        yield (
            f"{row.tokens}/{row.feature}",
            label.label if label and label.label else "\N{EN DASH}",
            row.n_active,
            f"**{_signed(row.r)}**",
            f"{_signed(row.ci_low)} to {_signed(row.ci_high)}",
            _signed(row.spearman_r),
            _signed(row.partial_r),
            f"{scores['monosemanticity']:.2f}",
        )


def strongest(run: saeviz.Run, rating: str, n: int = TOP) -> pd.DataFrame:
    """The rows of the `n` features with the largest |r| of all that were tested."""
    table = run.correlations
    table = table[(table["rating"] == rating) & table["q"].notna()]
    return table.iloc[table["r"].abs().argsort(kind="stable")[::-1][:n]]


def controlled(runs: Path) -> Iterator[Row]:
    """What is left of the relations when category and brightness are held constant."""
    yield ("rating", "significant, Pearson", "significant, partial", "both, same sign", "Spearman", "both, same sign")
    run = saeviz.open_run(runs / "oasis")
    for rating in run.ratings:
        table = run.correlations[run.correlations["rating"] == rating]
        pearson = table["significant"] == 1
        row = [rating, pearson.sum()]
        for kind in ("partial", "spearman"):
            other = table[f"{kind}_significant"] == 1
            same_sign = (table["r"] > 0) == (table[f"{kind}_r"] > 0)
            row += [other.sum(), (pearson & other & same_sign).sum()]
        yield row


def monosemanticity(runs: Path) -> Iterator[Row]:
    """Scores by both embeddings."""
    yield ("", "EfficientNet", "colours")
    run = saeviz.open_run(runs / "oasis")
    facts, scores = run.facts, run.scores
    first, second = "monosemanticity_", "monosemanticity_second_"
    yield (
        "two random images, mean (SD)",
        *(f"{facts[kind + 'baseline_mean']:.3f} ({facts[kind + 'baseline_sd']:.3f})" for kind in (first, second)),
    )
    yield ("cut-offs", *(", ".join(f"{cut:.3f}" for cut in facts[kind + "cutoffs"]) for kind in (first, second)))
    for name in ("monosemantic", "moderate", "polysemantic"):
        yield (f"{name} features", (scores["ms_class"] == name).sum(), (scores["ms_class_2"] == name).sum())
    yield ("median score", *(f"{scores[name].median():.3f}" for name in ("monosemanticity", "monosemanticity_2")))
    yield ("more alike than chance, q ≤ 0.05", f"{facts[first + 'above_chance']} of {facts[first + 'family_size']}", "")
    yield ("Spearman's r of the two", f"{facts[first + 'agreement_spearman']:.2f}", "")
    yield ("in the same class", f"{facts[first + 'agreement_same_class']:.2f}", "")


def held_out(runs: Path) -> Iterator[Row]:
    """What half of the images find and the other half confirms."""
    yield (
        "rating",
        "images",
        "found",
        "images held out",
        "replicated",
        "of the 10 strongest",
        "mean \\|r\\|",
        "held out",
        "same sign",
    )
    run = saeviz.open_run(runs / "oasis-held-out")
    for rating in run.ratings:
        table = run.correlations[run.correlations["rating"] == rating]
        found = table[table["significant"] == 1]
        toward = found["r_held_out"] * found["r"].apply(lambda r: 1 if r > 0 else -1)
        yield (
            rating,
            int(found["n"].iloc[0]),
            len(found),
            int(found["n_held_out"].iloc[0]),
            f"{found['replicated'].sum():.0f} ({found['replicated'].mean():.0%})",
            int(strongest(run, rating)["replicated"].sum()),
            f"{found['r'].abs().mean():.3f}",
            f"{toward.mean():.3f}",
            f"{(toward > 0).mean():.3f}",
        )


def explained(runs: Path) -> Iterator[Row]:
    """R² of all features together, beside the alternatives."""
    yield (
        "rating",
        "space",
        "features, ridge",
        "features, lasso (kept)",
        "raw model",
        "EfficientNet",
        "raters' ceiling",
    )
    run = saeviz.open_run(runs / "oasis")
    for rating, entries in run.facts["prediction"].items():
        of = {(entry["method"], entry["source"], entry["space"]): entry for entry in entries}
        spaces = dict.fromkeys(entry["space"] for entry in entries if entry["source"] == "features")
        for space in spaces:
            lasso = of.get(("lasso", "features", space))
            raw = of.get(("ridge", "activations", space))
            yield (
                rating,
                "both" if space == "all" else space.partition(".")[2],
                f"{of['ridge', 'features', space]['r2']:.2f}",
                f"{lasso['r2']:.2f} ({lasso['n_kept']})" if lasso else "",
                f"{raw['r2']:.2f}" if raw else "",
                f"{of['ridge', 'embeddings', '']['r2']:.2f}",
                f"{run.facts['reliability'][rating]['reliability']:.2f}",
            )


def reliability(runs: Path) -> Iterator[Row]:
    """How well means over raters would be reproduced by other raters."""
    yield ("rating", "raters an image", "reliability", "ceiling of \\|r\\|")
    for rating, found in saeviz.open_run(runs / "oasis").facts["reliability"].items():
        yield (
            rating,
            f"{found['ratings_per_image']:.0f}",
            f"{found['reliability']:.3f}",
            f"{found['ceiling_r']:.3f}",
        )


def clusters(runs: Path) -> Iterator[Row]:
    """Features that fire together."""
    yield ("leader", "fires on", "fires together with")
    run = saeviz.open_run(runs / "oasis")
    scores = run.scores[run.scores["cluster_size"] > 1]
    leaders = scores[scores["cluster"] == scores.index]
    for leader in leaders.sort_values("n_active", ascending=False).itertuples():
        feature = saeviz.Feature(int(leader.layer), leader.tokens, int(leader.feature))
        others = [f"{other.tokens}/{other.index}" for other in run.companions(feature)]
        yield (f"{leader.tokens}/{leader.feature}", leader.n_active, ", ".join(others))


def in_series(runs: Path) -> Iterator[Row]:
    """What is significant if photographs are taken as independent, and if those of a series may be alike."""
    yield (
        "rating",
        "scorer",
        "variance between series",
        "significant, naive",
        "robust",
        "detectable r, naive",
        "robust",
    )
    run = saeviz.open_run(runs / "oasis-series")
    for rating in run.ratings:
        prefix, scorer = ("auc_", "`auc`") if "=" in rating else ("", "`pearson-bh`")
        facts = {name: saeviz.facts_of(name, run.facts) for name in (prefix, f"naive_{prefix}")}
        naive, robust = facts[f"naive_{prefix}"], facts[prefix]
        yield (
            rating,
            scorer,
            f"{robust[f'between_groups_{rating}']:.2f}",
            *(of[f"significant_{rating}"] for of in (naive, robust)),
            *(f"{of[f'detectable_{rating}']:.2f}" for of in (naive, robust)),
        )


def top_in_series(runs: Path) -> Iterator[Row]:
    """The features most strongly correlated with each rating, with intervals of both kinds."""
    yield ("rating", "feature", "fires on", "series", "r", "interval, naive", "robust", "df", "q", "r within series")
    run = saeviz.open_run(runs / "oasis-series")
    for rating in ("valence", "arousal", "beauty"):
        for row in strongest(run, rating, 5).itertuples():
            yield (
                rating,
                f"{row.tokens}/{row.feature}",
                row.n_active,
                row.n_groups,
                f"**{_signed(row.r)}**",
                f"{_signed(row.naive_ci_low)} to {_signed(row.naive_ci_high)}",
                f"{_signed(row.ci_low)} to {_signed(row.ci_high)}",
                f"{row.df:.0f}",
                f"{row.q:.3f}",
                _signed(row.r_within),
            )


def between_categories(runs: Path) -> Iterator[Row]:
    """Whether the strongest relations are the same in all four categories."""
    yield (
        "rating",
        "variance between categories",
        "r differs, of the 50 strongest",
        "mean \\|r\\| of these 50",
        "within categories",
    )
    run = saeviz.open_run(runs / "oasis-categories")
    for rating in run.ratings:
        table = run.correlations
        table = table[(table["rating"] == rating) & (table["n_active"] >= MIN_ACTIVE)]
        table = table.iloc[table["r"].abs().argsort(kind="stable")[::-1][:50]]
        yield (
            rating,
            f"{run.facts[f'correlation_between_groups_{rating}']:.2f}",
            int((table["heterogeneity_p"] <= 0.05).sum()),
            f"{table['r'].abs().mean():.2f}",
            f"{(table['r_within'] * table['r'].map(lambda r: 1 if r > 0 else -1)).mean():.2f}",
        )


def explained_in_groups(runs: Path) -> Iterator[Row]:
    """Out-of-fold R² of ridge on all features and on the embedding, by what is left out together."""
    yield ("rating", "predictor", "single photographs left out", "whole series", "a whole category")
    found = [saeviz.open_run(runs / name).facts["prediction"] for name in ("oasis", "oasis-series", "oasis-categories")]
    for rating in found[0]:
        for name, source, space in (("features", "features", "all"), ("EfficientNet", "embeddings", "")):
            entries = [
                next(
                    one
                    for one in of[rating]
                    if (one["method"], one["source"], one["space"]) == ("ridge", source, space)
                )
                for of in found
            ]
            yield (rating, name, *(_signed(one["r2"]).removeprefix("+") for one in entries))


TABLES = {
    "significant": significant,
    "top valence": lambda runs: top(runs, "valence"),
    "top arousal": lambda runs: top(runs, "arousal"),
    "top beauty": lambda runs: top(runs, "beauty"),
    "controlled": controlled,
    "held out": held_out,
    "monosemanticity": monosemanticity,
    "reliability": reliability,
    "explained": explained,
    "clusters": clusters,
    "in series": in_series,
    "top in series": top_in_series,
    "between categories": between_categories,
    "explained in groups": explained_in_groups,
}


def markdown(rows: Iterator[Row]) -> str:
    """A table."""
    head, *body = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * (head.replace("\\|", "").count("|") - 1), *body])


def fill(document: str, runs: Path) -> str:
    """The document with its tables replaced."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{markdown(TABLES[match[1]](runs))}\n"

    return re.sub(r"<!-- ([a-z ]+) -->\n(?:\|.*\n)*", table, document)


def _family(run: saeviz.Run, tokens: str, rating: str) -> pd.DataFrame:
    table = run.correlations
    return table[(table["tokens"] == tokens) & (table["rating"] == rating) & table["q"].notna()]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    path = parser.parse_args().document
    path.write_text(fill(path.read_text(encoding="utf-8"), RUNS), encoding="utf-8")
