"""Choose the concepts of a gallery picture, and describe them in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

PALETTES = ("warm", "cold", "pastel", "dark", "monochrome", "vivid")
GROUNDS: Mapping[str, float] = {
    "plain": 0.16,
    "gradient": 0.14,
    "landscape": 0.25,
    "stripes": 0.09,
    "grid": 0.09,
    "checkerboard": 0.09,
    "waves": 0.09,
    "rays": 0.09,
}
LANDSCAPE_PARTS: Mapping[str, float] = {"sun": 0.5, "hills": 0.5, "sea": 0.45, "trees": 0.5}
SHAPES = ("circles", "squares", "triangles", "stars", "rings", "crosses")
EXTRAS: Mapping[str, float] = {"dots": 0.13, "clutter": 0.13, "spiral": 0.13, "noise": 0.13, "symmetry": 0.16}

CONCEPTS: tuple[str, ...] = (*PALETTES, *GROUNDS, *LANDSCAPE_PARTS, *SHAPES, *EXTRAS)
"""Every concept, one word each, in the order of `Picture.concepts`."""


class Dice(Random):
    """Random choices based on `random()` alone, whose sequence Python promises not to change."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.random()

    def pick(self, choices: Sequence[T]) -> T:
        """One of the options."""
        return choices[int(self.random() * len(choices))]

    def pick_several(self, choices: Sequence[T], n: int) -> list[T]:
        """`n` different options, in random order."""
        left = list(choices)
        return [left.pop(int(self.random() * len(left))) for _ in range(n)]

    def pick_weighted(self, weights: Mapping[str, float]) -> str:
        """One of the names, with probability proportional to its weight."""
        point = self.random() * sum(weights.values())
        for name, weight in weights.items():
            point -= weight
            if point < 0:
                return name
        return name


@dataclass(frozen=True)
class Picture:
    """What is in a picture. `seed` decides everything else: places, sizes, colours."""

    seed: str
    palette: str
    ground: str
    parts: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    @property
    def concepts(self) -> tuple[str, ...]:
        """Its concepts, in the order of `CONCEPTS`."""
        present = {self.palette, self.ground, *self.parts, *self.shapes, *self.extras}
        return tuple(concept for concept in CONCEPTS if concept in present)

    @property
    def caption(self) -> str:
        """A sentence that names all its concepts."""
        things = [*self.parts, *self.shapes, *self.extras]
        return f"a {self.palette} picture, {self.ground}" + (f" with {_list(things)}" if things else "")


def compose(stream: str, index: int) -> Picture:
    """Picture number `index` of a stream: the same on every machine, and different from those of other streams."""
    seed = f"{stream}/{index}"
    dice = Dice(seed)
    palette = dice.pick(PALETTES)
    ground = dice.pick_weighted(GROUNDS)
    parts: tuple[str, ...] = ()
    if ground == "landscape":
        parts = tuple(part for part, chance in LANDSCAPE_PARTS.items() if dice.chance(chance)) or ("hills",)
    shapes = tuple(dice.pick_several(SHAPES, _number_of_shapes(dice, ground)))
    extras = tuple(extra for extra, chance in EXTRAS.items() if dice.chance(chance))
    return Picture(seed, palette, ground, parts, shapes, extras)


def _number_of_shapes(dice: Dice, ground: str) -> int:
    if ground == "landscape":
        return int(dice.chance(0.35))
    if ground == "plain":
        return 1 + int(dice.chance(0.35))
    return dice.pick((0, 1, 1, 2))


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
