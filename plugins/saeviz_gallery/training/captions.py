"""Captions of training pictures: some of their concepts, in varied words and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from saeviz_gallery.concepts import CONCEPTS, Dice

WORDS: dict[str, tuple[str, ...]] = {
    "warm": ("warm", "fiery", "red and orange"),
    "cold": ("cold", "cool", "blue"),
    "pastel": ("pastel", "pale", "soft"),
    "dark": ("dark", "gloomy", "night"),
    "monochrome": ("monochrome", "grey", "black and white"),
    "vivid": ("vivid", "bright", "colourful"),
    "plain": ("plain", "flat", "empty"),
    "gradient": ("gradient", "shading", "fading colours"),
    "landscape": ("landscape", "scenery", "horizon"),
    "stripes": ("stripes", "striped", "bars"),
    "grid": ("grid", "lattice", "net"),
    "checkerboard": ("checkerboard", "chessboard", "checks"),
    "waves": ("waves", "wavy", "ripples"),
    "rays": ("rays", "sunburst", "beams"),
    "sun": ("sun", "sunrise", "sunset"),
    "hills": ("hills", "mountains", "peaks"),
    "sea": ("sea", "water", "ocean"),
    "trees": ("trees", "forest", "firs"),
    "circles": ("circles", "discs", "balls"),
    "squares": ("squares", "boxes", "blocks"),
    "triangles": ("triangles", "triangle", "wedges"),
    "stars": ("stars", "star", "starry"),
    "rings": ("rings", "hoops", "donuts"),
    "crosses": ("crosses", "cross", "plus signs"),
    "dots": ("dots", "dotted", "polka dots"),
    "clutter": ("clutter", "mess", "scraps"),
    "spiral": ("spiral", "swirl", "coil"),
    "noise": ("noise", "grain", "static"),
    "symmetry": ("symmetry", "mirror", "reflection"),
}

DISTRACTORS = (
    *("dog", "cat", "horse", "bird", "fish", "face", "people", "child", "hand", "crowd", "portrait", "smile"),
    *("car", "train", "boat", "bicycle", "city", "street", "house", "window", "bridge", "church", "kitchen", "garden"),
    *("flower", "food", "fruit", "bread", "coffee", "book", "chair", "table", "clock", "guitar", "shoe", "letters"),
)
"""Things that no picture shows. The model learns that they fit none, so that a labeler can reject them."""

TEMPLATES = ("{}", "a picture of {}", "a picture with {}", "a photo of {}", "{} in a picture", "an image with {}")

VOCABULARY = (*CONCEPTS, *DISTRACTORS)

MOST_WORDS = 4
"""Maximum number of concepts in a caption."""


def caption(concepts: Sequence[str], dice: Dice) -> tuple[str, tuple[str, ...]]:
    """A caption that names one to four of the concepts, and the concepts named."""
    n = min(len(concepts), dice.pick((1, 1, 2, 3, MOST_WORDS)))
    named = tuple(dice.pick_several(concepts, n))
    return dice.pick(TEMPLATES).format(" and ".join(_word(concept, dice) for concept in named)), named


def _word(concept: str, dice: Dice) -> str:
    """The concept's own name half of the time, else another word for it."""
    return concept if dice.chance(0.5) else dice.pick(WORDS[concept])


def every_word() -> list[str]:
    """Texts that contain every word of every caption."""
    return [*TEMPLATES, *DISTRACTORS, "and a the", *(word for words in WORDS.values() for word in words)]
