"""A simulated panel of raters whose likes and dislikes are known: the truth that a run should find.

A rater moves a slider from 0 to 100 for each picture and rating. The value is

    BASELINE + what the panel likes and dislikes about the picture's concepts (PANEL)
             + the rater's own taste in each concept
             + the picture's own appeal, the same for all raters
             + the rater's mood of the moment

kept within 0 and 100; a picture's rating is the mean over the raters. The raters' own tastes cancel over the
panel, so the effects in `PANEL` are the panel's exact ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from saeviz_gallery.concepts import CONCEPTS, Picture

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

PANEL: Mapping[str, Mapping[str, float]] = {
    "drawn_to": {"landscape": 9.0, "spiral": 10.0, "clutter": -10.0, "dark": -8.0},
    "calm": {"pastel": 9.0, "waves": 10.0, "checkerboard": -10.0, "noise": -10.0},
    "lively": {"vivid": 9.0, "rays": 10.0, "monochrome": -9.0, "plain": -8.0},
}
"""Rating -> concept -> points by which the concept raises (or lowers) the rating."""

RATERS = 24
BASELINE = 50.0
TASTE_SD = 4.0
APPEAL_SD = 3.0
MOOD_SD = 12.0


def rate(pictures: Sequence[Picture], seed: int) -> dict[str, FloatArray]:
    """Each rating of each picture, `[len(pictures)]`; independent of how many pictures follow."""
    import numpy as np

    present = np.array([[concept in picture.concepts for concept in CONCEPTS] for picture in pictures], dtype=float)
    ratings = {}
    for number, (name, effects) in enumerate(PANEL.items()):
        rng = np.random.Generator(np.random.PCG64([seed, number]))
        liked = np.array([effects.get(concept, 0.0) for concept in CONCEPTS])
        tastes = TASTE_SD * rng.standard_normal((RATERS, len(CONCEPTS)))
        tastes -= tastes.mean(axis=0)
        chance = rng.standard_normal((len(pictures), 1 + RATERS))
        appeal, mood = APPEAL_SD * chance[:, :1], MOOD_SD * chance[:, 1:]
        sliders = BASELINE + present @ (liked + tastes).T + appeal + mood
        ratings[name] = np.clip(sliders, 0, 100).mean(axis=1).round(3)
    return ratings
