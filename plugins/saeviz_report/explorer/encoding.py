"""Columns as the viewer reads them: typed arrays in base64, and text as codes with the list of what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from saeviz.toolkit.packed import fewest_bytes, packed

SMALLEST_SINGLE = 1e-30
"""Numbers nearer to zero than this, such as very small p, are written in double precision."""
WIDEST_SINGLE = 1e3
"""So many times as large as they differ from each other, numbers such as dates are, too."""


def numbers(values: npt.NDArray[Any]) -> dict[str, str]:
    """A column of numbers, NaN where one is missing, in the fewest bytes that keep seven digits of each.

    Differences between them keep four digits.
    """
    column = np.asarray(values, dtype=np.float64)
    known = column[np.isfinite(column)]
    sizes = np.abs(known[known != 0])
    is_single = not len(sizes) or (sizes.min() >= SMALLEST_SINGLE and sizes.max() < 1e38)
    if is_single and len(sizes):
        spread = known.max() - known.min()
        is_single = spread == 0 or bool(sizes.max() <= WIDEST_SINGLE * spread)
    return packed(column.astype(np.float32) if is_single else column)


def texts(values: Sequence[str]) -> dict[str, Any]:
    """A column of text: the different values, and the place of each row's value among them."""
    known = {value: code for code, value in enumerate(dict.fromkeys(values))}
    codes = np.fromiter((known[value] for value in values), dtype=np.int64, count=len(values))
    return {"kind": "text", "codes": packed(codes.astype(fewest_bytes(len(known)))), "values": list(known)}
