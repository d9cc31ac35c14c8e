"""States of scores of some of the images: what has them, and the form that they must have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from saeviz.values.errors import MalformedError
from saeviz.values.score_input import ScoreInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    State = Mapping[str, NDArray[Any]]
    Form = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]

SUMMARY, N_ACTIVE = "summary", "n_active"
"""Names of what is computed first: `Summarizing`, and `NumberActive`."""


class Merges(Protocol):
    """What is computed from parts; see `saeviz.MergingScores`."""

    def partial(self, part: ScoreInput) -> State:
        """The state of a part."""
        ...

    def merge(self, earlier: State, later: State) -> State:
        """The state of the images of both."""
        ...


class NumberActive:
    """How many features are active on each image: L0. The state grows with the images, by one number each."""

    def partial(self, part: ScoreInput) -> State:
        """Of the images of a part, in order."""
        import numpy as np

        return {"n": np.asarray(part.matrix().sign().maximum(0).sum(axis=1)).ravel().astype(np.int64)}

    def merge(self, earlier: State, later: State) -> State:
        """Of the images of both, which are neighbours."""
        import numpy as np

        return {"n": np.concatenate([earlier["n"], later["n"]])}

    @staticmethod
    def form(n_images: int) -> Form:
        """The form of a state of so many images."""
        import numpy as np

        return {"n": (np.dtype(np.int64), (n_images,))}


def form_of(state: State) -> Form:
    """Type and shape of each array."""
    return {name: (array.dtype, array.shape) for name, array in state.items()}


def form_without_images(merges: Merges, data: ScoreInput) -> Form:
    """The form of the state of no images, which is that of all states but for `NumberActive`."""
    return form_of(merges.partial(data.part(slice(0, 0), partial(iter, ()))))


def refuse_another_form(state: State, form: Form) -> None:
    """Raise `MalformedError` if the state that a scorer gave of some images has not the form of that of none."""
    if form_of(state) != form:
        raise MalformedError(
            "it gave arrays of other names, types or shapes from partial for some images than for none"
        )
