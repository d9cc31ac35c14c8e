"""How well words find features, in three ways, on pictures of which it is known what they show.

    saeviz demo --out RUN --set images.count=300
    python benchmarks/words.py RUN

For the name of each concept of the gallery, the features that a way finds first are those that should fire where the
concept is present. Printed is the mean correlation of the first one, and of the first five, with its presence, beside
that of the best features there are. `images` is what `saeviz serve` does.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import saeviz

MIN_IMAGES, MIN_ACTIVE, TOP = 8, 5, 16


def standardised(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1; those that never vary of 0."""
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, np.inf)


def directions(extractor: Any, space: saeviz.FeatureSpace) -> np.ndarray:
    """Decoder directions through the last norm and the projection of an open_clip model, which only the last layer has
    right behind it.
    """
    visual = extractor._clip._model.visual
    decoder = extractor.decoder(space)
    scale, projection = (one.detach().numpy() for one in (visual.ln_post.weight, visual.proj))
    found = ((decoder - decoder.mean(axis=1, keepdims=True)) * scale) @ projection
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9))


def main() -> None:
    """Print a line for each space and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    run = saeviz.open_run(parser.parse_args().run)
    extractor, shown = run.component("extractor"), [item.metadata["concepts"].split(",") for item in run.items]
    concepts = sorted({concept for some in shown for concept in some})
    present = np.array([[concept in some for concept in concepts] for some in shown], float)
    concepts = [concept for concept, n in zip(concepts, present.sum(axis=0), strict=True) if n >= MIN_IMAGES]
    present = standardised(present[:, present.sum(axis=0) >= MIN_IMAGES])
    texts = extractor.embed_texts(concepts)
    alike = standardised(extractor.embed_images(run.items) @ texts.T)
    print(f"{len(run.items)} images, {len(concepts)} concepts")
    for space in run.spaces:
        x = run.features(space).matrix.toarray().astype(float)
        truth, n = standardised(x).T @ present / len(x), len(x)
        top = np.where(np.argsort(np.argsort(-x, axis=0), axis=0) < TOP, x, 0)
        ways = {
            "the best there are": truth,
            "images": standardised(x).T @ alike / n,
            "top images": (top / np.maximum(top.sum(axis=0), 1e-9)).T @ alike,
            "decoder": directions(extractor, space) @ texts.T,
        }
        for name, scores in ways.items():
            usable = np.where(((x > 0).sum(axis=0) >= MIN_ACTIVE)[:, None], scores, -np.inf)
            first = np.take_along_axis(truth, np.argsort(-usable, axis=0)[:5], axis=0)
            print(f"{space} {name:20} first {first[0].mean():.2f}, first five {first.mean():.2f}")


if __name__ == "__main__":
    main()
