r"""The effect of bfloat16 on features, their top images and their correlations, compared with torch in float32.

Extracts the same rated images once per engine and precision and compares with the first: the share of active features
that stay active, the mean error of their values relative to their mean, how many of a feature's top 20 images stay,
how much its correlations with the ratings change, and how many of the significant ones (Pearson r,
Benjamini-Hochberg at 0.05 over all features and ratings of a space) are lost or new. Features that fire on fewer than
10 images are left out of the last three, as in a run.

    python benchmarks/precision.py --model ../shared/models/vit-s14 --sae ../shared/models/sae-vit-s14-block8 \
        --layer 8 --images ../shared/oasis/images --ratings ../shared/oasis/ratings.csv \
        --columns valence arousal beauty
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import saeviz

MIN_ACTIVE, TOP = 10, 20
REFERENCE = ("torch", "float32")
OTHERS = (("openvino", "float32"), ("openvino", "bfloat16"), ("torch", "bfloat16"))


class Outcome(NamedTuple):
    """Of one space: features `[images, n_features]`, and r and significance `[n_ratings, n_features]`."""

    features: np.ndarray
    r: np.ndarray
    significant: np.ndarray


def outcomes(
    extractor: saeviz.FeatureExtractor, items: Sequence[saeviz.ImageItem], columns: Sequence[str]
) -> Mapping[saeviz.FeatureSpace, Outcome]:
    """Extract all items and correlate."""
    batches: dict[saeviz.FeatureSpace, list[saeviz.FeatureBatch]] = {}
    for batch in extractor.extract(items):
        batches.setdefault(batch.space, []).append(batch)
    ids = tuple(item.item_id for item in items)
    ratings = {name: np.array([item.ratings[name] for item in items]) for name in columns}
    scorer = saeviz.component("scorer", "pearson-bh", min_active=MIN_ACTIVE)
    scores = []
    streams = {space: saeviz.FeatureStream(space, found.__iter__) for space, found in batches.items()}
    for space, stream in streams.items():
        scores += scorer.score(saeviz.ScoreInput(space, ids, stream, None, ratings))
    scores += [column for column in scorer.combine(scores) if isinstance(column, saeviz.ScoreColumn)]
    table = {(column.space, column.target, column.name): column.values for column in scores}
    return {
        space: Outcome(
            stream.matrix().toarray(),
            np.array([table[space, name, "r"] for name in columns]),
            np.array([table[space, name, "significant"] for name in columns]) == 1,
        )
        for space, stream in streams.items()
    }


def compare(ours: Outcome, reference: Outcome) -> str:
    """A row of the table."""
    active = reference.features > 0
    tested = active.sum(axis=0) >= MIN_ACTIVE
    kept = ((ours.features > 0) & active).sum() / active.sum()
    scale = reference.features[active].mean()
    error = np.abs(ours.features - reference.features)[active].mean() / scale
    overlap = [
        len(set(top_images(mine)) & set(top_images(other))) / len(top_images(other))
        for mine, other in zip(ours.features.T[tested], reference.features.T[tested], strict=True)
    ]
    moved = np.abs(ours.r - reference.r)[:, tested]
    lost = (reference.significant & ~ours.significant).sum()
    new = (ours.significant & ~reference.significant).sum()
    return (
        f"{kept:.2%} | {error:.1e} | {np.mean(overlap):.2%} (5 % of features below {np.quantile(overlap, 0.05):.0%}) "
        f"| {np.nanmedian(moved):.1e}, {np.nanmax(moved):.1e} | {reference.significant.sum()}, -{lost} +{new}"
    )


def top_images(feature: np.ndarray) -> np.ndarray:
    """Rows of the images with the highest values, active ones only."""
    best = np.argsort(-feature, kind="stable")[:TOP]
    return best[feature[best] > 0]


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "sae", "images", "ratings"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--columns", nargs="+", required=True, help="the ratings to correlate with")
    arguments = parser.parse_args()
    logging.disable()
    provider = saeviz.component(
        "images", "folder", path=arguments.images, ratings=arguments.ratings, rating_columns=arguments.columns
    )
    items = list(provider.iter_images(filter_labeled=True))

    def run(engine: str, precision: str) -> Mapping[saeviz.FeatureSpace, Outcome]:
        extractor = saeviz.component(
            "extractor",
            "vit-sae",
            model=arguments.model,
            saes={arguments.layer: arguments.sae},
            tokens=["cls", "patch-max"],
            engine=engine,
            precision=precision,
        )
        return outcomes(extractor, items, arguments.columns)

    reference = run(*REFERENCE)
    print(f"{len(items)} images, against {' '.join(REFERENCE)}\n")
    print(
        "| engine, precision | features | active kept | error | top 20 kept | r changes: median, most | significant |"
    )
    print("|---|---|---|---|---|---|---|")
    for engine, precision in OTHERS:
        for space, ours in run(engine, precision).items():
            print(f"| {engine} {precision} | {space} | {compare(ours, reference[space])} |", flush=True)


if __name__ == "__main__":
    main()
