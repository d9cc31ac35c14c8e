"""`python -m saeviz_clip_vocabulary.calibrate`: fits the constants of `calibration.py` on the gallery.

It runs the demo on six galleries of other seeds than the demo's own, fits on four and says how well that holds on the
other two. It takes two minutes, and writes to a temporary folder only.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import saeviz
from saeviz_clip_vocabulary import ClipVocabularyOptions
from saeviz_clip_vocabulary.calibration import Logistic
from saeviz_clip_vocabulary.labeler import ClipVocabulary

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, Mask

FIT_ON, CHECK_ON = (1, 2, 3, 4), (5, 6)
FEATURES = 300
RIGHT = 0.6
"""A name is right if at least this share of the activation on the top images is on images with the concept."""
SETTINGS = (
    f"selector.limit={FEATURES}",
    "judge.use=none",
    "scorers=[{ use = 'monosemanticity', thresholds = 'calibrated' }]",
    "reporters=[]",
)
Cases = tuple["FloatArray", "Mask", "FloatArray"]
"""Scores, truth and weights of some cases."""


def main() -> None:
    """Print the constants and how well they hold on other galleries."""
    logging.getLogger("saeviz").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        runs = {seed: _run(seed, Path(folder) / str(seed)) for seed in (*FIT_ON, *CHECK_ON)}
        for name, cases_of in (("NAME_IS_RIGHT", _names), ("TERM_APPLIES", _pictures)):
            fitted = fit(*_together([cases_of(runs[seed]) for seed in FIT_ON]))
            print(f"{name} = Logistic({fitted.offset:.3f}, {fitted.slope:.3f})")
            for line in reliability(fitted, *_together([cases_of(runs[seed]) for seed in CHECK_ON])):
                print(f"    {line}")


def fit(scores: FloatArray, truth: Mask, weights: FloatArray) -> Logistic:
    """The logistic curve with the largest weighted likelihood."""
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools import add_constant

    inputs = add_constant(scores, has_constant="add")
    found = GLM(truth.astype(float), inputs, family=Binomial(), freq_weights=weights).fit()
    return Logistic(*map(float, found.params))


def reliability(curve: Logistic, scores: FloatArray, truth: Mask, weights: FloatArray) -> Iterator[str]:
    """Predicted probability, observed share and number of cases per bin, then the mean squared error (Brier score)."""
    import numpy as np

    p = curve(scores)
    yield "predicted  observed  cases"
    for low in np.arange(0, 1, 0.2):
        here = (p >= low) & (p < low + 0.2 + (low > 0.7))
        if here.any():
            mean, share = (np.average(values[here], weights=weights[here]) for values in (p, truth))
            yield f"{mean:9.2f}  {share:8.2f}  {here.sum():5d}"
    base = np.average(truth, weights=weights)
    error = np.average((p - truth) ** 2, weights=weights)
    yield f"Brier score {error:.3f}; {base * (1 - base):.3f} for always saying {base:.2f}"


def _run(seed: int, folder: Path) -> saeviz.Run:
    demo = files("saeviz_gallery").joinpath("demo", "run.toml")
    return saeviz.run(str(demo), settings=[*SETTINGS, f"images.seed={seed}", f"run.dir={folder}"])


def _names(run: saeviz.Run) -> Cases:
    """Every name, by how far its score is above chance."""
    import numpy as np

    scores, right = [], []
    for feature, label in run.labels.items():
        if label.label:
            scores.append(label.details["terms"][0]["score"] - label.details["chance"])
            top = run.top_images(feature)
            shown = sum(activation for item, activation in top if label.label in _concepts(item))
            right.append(shown >= RIGHT * sum(activation for _, activation in top))
    return np.array(scores), np.array(right), np.ones(len(scores))


def _pictures(run: saeviz.Run) -> Cases:
    """Every picture with every concept of the gallery; those that show it weigh as much as those that do not."""
    import numpy as np

    clip = str(files("saeviz_gallery").joinpath("demo", "clip"))
    context = saeviz.Context(peer=lambda _: _Pictures(run.items))
    labeler = ClipVocabulary(ClipVocabularyOptions(clip_checkpoint=clip), context)
    concepts = sorted({concept for item in run.items for concept in _concepts(item)})
    scores = np.concatenate([labeler.closeness(concept, run.items) for concept in concepts])
    truth = np.array([concept in _concepts(item) for concept in concepts for item in run.items])
    weights = np.where(truth, 0.5 / truth.mean(), 0.5 / (1 - truth.mean()))
    return scores, truth, weights


class _Pictures:
    def __init__(self, items: Sequence[saeviz.ImageItem]) -> None:
        self.items = items

    def iter_images(self) -> Iterator[saeviz.ImageItem]:
        return iter(self.items)


def _concepts(item: saeviz.ImageItem) -> list[str]:
    return item.metadata["concepts"].split(",")


def _together(cases: Sequence[Cases]) -> Cases:
    import numpy as np

    scores, truth, weights = (np.concatenate(parts) for parts in zip(*cases, strict=True))
    return scores, truth, weights


if __name__ == "__main__":
    main()
