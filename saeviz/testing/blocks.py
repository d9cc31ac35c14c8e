"""The contract of scorers whose scores are computed from blocks of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from saeviz.contract.blocks import BlockScorer, BlockScores
from saeviz.contract.roles import Scorer
from saeviz.testing.merging import assert_same_results, with_family
from saeviz.values.checks import kind_of
from saeviz.values.features import FeatureBatch
from saeviz.values.score_input import ScoreInput
from saeviz.values.streams import FeatureStream
from saeviz.values.summary import FeatureSummary

if TYPE_CHECKING:
    from saeviz.typing import CSR

TOP_IMAGES = 32


def check_blocks(make: Callable[[], Any], data: ScoreInput) -> None:
    """Assert that a `saeviz.BlockScorer` gives what its `score` gives, to the last bit.

    Features are divided at random, down to blocks of one, which are made in any order. `make` builds the scorer anew,
    as each process does. Features cannot be read from `data` before `finish`.
    """
    import numpy as np

    alone = make()
    assert isinstance(alone, Scorer), f"{kind_of(alone)} is no saeviz.Scorer: it lacks score"
    assert isinstance(alone, BlockScorer), f"{kind_of(alone)} is no saeviz.BlockScorer: it lacks in_blocks"
    expected = with_family(alone, alone.score(data))
    n = data.space.n_features
    random = np.random.default_rng(0)
    for cuts in (sorted(random.choice(n - 1, size, replace=False) + 1) for size in {1, n // 3, n - 1}):
        scorer, is_open = make(), False

        def read() -> Iterator[FeatureBatch]:
            assert is_open, "in_blocks reads the features; it may use their statistics and top images only"  # noqa: B023
            return data.features.batches()

        known = FeatureSummary(data.features.statistics, data.features.top_images(TOP_IMAGES))
        closed = replace(data, features=FeatureStream(data.space, read, data.item_ids).knowing(known))
        scores = make().in_blocks(closed)
        places = [slice(*map(int, ends)) for ends in pairwise([0, *cuts, n])]
        made = {
            place: _numbers(scores, places[place], _block(data, places[place]))
            for place in random.permutation(len(places))
        }
        blocks = [made[place] for place in range(len(places))]
        finishing = scorer.in_blocks(closed)
        is_open = True
        found = with_family(scorer, finishing.finish(iter(blocks)))
        assert_same_results(found, expected, 0.0, f"{len(blocks)} blocks of features give")


def _block(data: ScoreInput, features: slice) -> CSR:
    """As a worker reads it: nothing can be written to it."""
    values: CSR = data.features.matrix()[:, features].T.tocsr()
    for array in (values.data, values.indices, values.indptr):
        array.flags.writeable = False
    return values


def _numbers(scores: BlockScores | None, features: slice, values: CSR) -> dict[str, Any]:
    import numpy as np

    assert isinstance(scores, BlockScores), (
        f"in_blocks gives {kind_of(scores)}, not a saeviz.BlockScores: the scores are not computed from blocks with "
        "these options"
    )
    found = dict(scores.block(features, values))
    for name, array in found.items():
        assert isinstance(name, str), f"block gives {kind_of(name)} as the name of an array; text was expected"
        assert isinstance(array, np.ndarray), f"block gives {kind_of(array)} as {name!r}; an array was expected"
        assert array.dtype.kind in "biuf", f"block gives {name!r} of {array.dtype}; numbers were expected"
    return found
