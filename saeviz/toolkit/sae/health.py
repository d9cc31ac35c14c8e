"""Compares an SAE's figures on a few images with the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from saeviz.values.outcomes import Figure, Health

if TYPE_CHECKING:
    from torch import Tensor

    from saeviz.contract.saes import KnownSAE
    from saeviz.toolkit.sae.forward import SAE

VALUES_AT_ONCE = 2**24
"""Values held at once: 64 MiB."""

VARIANCE_LOST = 0.15
"""More than this below the published explained variance is far off; other pictures than the authors' cost less."""

VARIANCE_UNPUBLISHED = 0.6
"""Without a published figure, less is far off: the weakest SAE of the registry explains 0.65, neighbouring layers 0.36
to 0.54 of one another's activations."""

L0_FACTOR = 2.0
"""An L0 that is this many times the published one, or this part of it, is far off."""

L0_UNPUBLISHED = 0.25
"""Without a published figure, more than this share of all features is not sparse."""


@dataclass
class Sums:
    """Running sums over tokens of one kind, in float64."""

    n: int = 0
    total: Tensor | float = 0.0
    squares: float = 0.0
    error: float = 0.0
    active: int = 0

    @property
    def spread(self) -> float:
        """Sum of squares about the mean token."""
        from torch import as_tensor

        return self.squares - float((as_tensor(self.total) ** 2).sum()) / self.n if self.n else 0.0


@dataclass
class Examination:
    """Figures of one SAE over the tokens that it was trained on, class tokens and patches separately.

    `vector` is what figures call the one token for a whole image: the class token, or the embedding.
    """

    sae: SAE
    vector: str = "cls"
    cls: Sums = field(default_factory=Sums)
    patches: Sums = field(default_factory=Sums)
    fired: Tensor | None = None

    @property
    def n_tokens(self) -> int:
        """Number of tokens seen."""
        return self.cls.n + self.patches.n

    def add(self, cls: Tensor | None, patches: Tensor) -> None:
        """Add activations of some images, `[n, width]`: class tokens (None if the model has none) and patches."""
        trained_on = self.sae.config.trained_on
        if cls is not None and trained_on != "patches":
            self._add(self.cls, cls)
        if trained_on != "cls":
            self._add(self.patches, patches)

    def _add(self, sums: Sums, tokens: Tensor) -> None:
        import torch

        for x in torch.split(tokens, max(1, VALUES_AT_ONCE // self.sae.config.d_sae)):
            features = self.sae.encode(x)
            exact = x.double().cpu()
            sums.n += len(x)
            sums.total = sums.total + exact.sum(0)
            sums.squares += float((exact**2).sum())
            sums.error += float(((exact - self.sae.decode(features, x)) ** 2).sum())
            active = features > 0
            sums.active += int(active.sum())
            fired = active.any(0)
            self.fired = fired if self.fired is None else self.fired | fired

    def result(self, subject: str, known: KnownSAE | None) -> Health:
        """The figures, with those of the registry for comparison and a warning for each that is far off."""
        figures = tuple(self._figures(known))
        return Health(subject, figures, tuple(self._warnings(subject, figures)))

    def _figures(self, known: KnownSAE | None) -> Iterator[Figure]:
        kinds = {self.vector: [self.cls], "patches": [self.patches], "all": [self.cls, self.patches]}
        seen = [name for name, sums in kinds.items() if all(part.n for part in sums)]
        for name in seen:
            published = known.explained_variance if known and name == seen[-1] else None
            yield Figure(f"explained variance, {name}", _explained(kinds[name]), published)
        for name in seen:
            yield Figure(f"L0, {name}", _l0(kinds[name]), _published_l0(known, name, seen))
        if self.fired is not None:
            yield Figure("share of features that never fired", 1 - float(self.fired.double().mean()))

    def _warnings(self, subject: str, figures: tuple[Figure, ...]) -> Iterator[str]:
        """The widest kind of token is judged, and what is published of others.

        So the variance of class tokens is not: where they hardly vary, early in a model, little of it is explained.
        """
        for prefix, expect in (("explained", self._expected_variance), ("L0", self._expected_l0)):
            mine = [figure for figure in figures if figure.name.startswith(prefix)]
            for name, measured, published in mine:
                least, most, expected = expect(published)
                is_judged = published is not None or name == mine[-1].name
                if is_judged and (measured < least or measured > most):
                    yield f"{subject}: {name} is {measured:.4g}, {expected}; {ADVICE}"

    def _expected_variance(self, published: float | None) -> tuple[float, float, str]:
        """The least and the most that is not far off, and in words what was expected."""
        if published is None:
            return VARIANCE_UNPUBLISHED, inf, f"expected at least {VARIANCE_UNPUBLISHED}"
        return published - VARIANCE_LOST, inf, f"published {published:.4g}"

    def _expected_l0(self, published: float | None) -> tuple[float, float, str]:
        if published is None:
            most = max(L0_UNPUBLISHED * self.sae.config.d_sae, self.sae.config.k or 0)
            return 1, most, f"expected 1 to {most:.0f}"
        return published / L0_FACTOR, published * L0_FACTOR, f"published {published:.4g}"


ADVICE = "are these the model, layer, weights and formula that belong together?"


def _explained(parts: list[Sums]) -> float:
    """1 - squared error / spread, each kind of token about its own mean; NaN where nothing varies."""
    spread = sum(part.spread for part in parts)
    return 1 - sum(part.error for part in parts) / spread if spread > 0 else float("nan")


def _l0(parts: list[Sums]) -> float:
    return sum(part.active for part in parts) / sum(part.n for part in parts)


def _published_l0(known: KnownSAE | None, name: str, seen: list[str]) -> float | None:
    if known is None:
        return None
    if name == "cls":
        return known.l0_cls
    return known.l0 if name == seen[-1] else None
