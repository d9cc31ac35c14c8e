"""How well terms fit the top images of a feature, measured against random images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from saeviz.typing import Float32Array, FloatArray, IntArray

DRAWS = 400
SMALLEST_SD = 1e-6


class Fit:
    """The measuring stick: `random` holds the similarity of random images and terms, `[n_images, n_terms]`."""

    def __init__(self, random: Float32Array) -> None:
        import numpy as np

        self.random = random.astype(np.float64)
        self._mean = self.random.mean(axis=0)
        self._sd = np.maximum(self.random.std(axis=0, ddof=1), SMALLEST_SD)

    def scores(self, top: Float32Array, weights: FloatArray) -> FloatArray:
        """`[n_terms]`: the weighted mean similarity of the top images `[n_top, n_terms]` less the mean similarity of
        random images, in standard deviations of a term's similarity over random images.
        """
        return self.standardised(weights @ top.astype(float))

    def standardised(self, similarities: FloatArray) -> FloatArray:
        """`[..., n_terms]`: how far similarities are above the mean of random images, in their standard deviations."""
        scores: FloatArray = (similarities - self._mean) / self._sd
        return scores

    def chance(self, weights: FloatArray, generator: np.random.Generator) -> float:
        """The score that the best term exceeds for one in twenty groups of random images in place of the top images.

        Not below 0.
        """
        import numpy as np

        n_random = len(self.random)
        drawn: IntArray = generator.integers(n_random, size=(DRAWS, len(weights)))
        weight_of_image = np.zeros((DRAWS, n_random))
        np.add.at(weight_of_image, (np.arange(DRAWS)[:, None], drawn), weights)
        scores = self.standardised(weight_of_image @ self.random)
        return max(0.0, float(np.quantile(scores.max(axis=1), 0.95)))
