"""What kind of thing a rating is, by its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

TargetKind = Literal["binary", "numeric"]
"""`binary`: something that an image has or lacks, 1 or 0; `numeric`: anything else, ordered levels among them."""


def target_kind(values: FloatArray) -> TargetKind:
    """The kind of a rating with these values: `binary` where all that are finite are 0 or 1, and there are some."""
    import numpy as np

    given = np.asarray(values, dtype=np.float64)
    given = given[np.isfinite(given)]
    return "binary" if given.size and bool(np.isin(given, (0.0, 1.0)).all()) else "numeric"
