"""Arrays in JSON: their type, and their bytes in base64."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saeviz.typing import Float32Array

STEPS = 255
"""Of a map from 0 to its largest value."""


def packed(values: npt.NDArray[Any]) -> dict[str, str]:
    """An array of numbers by its kind (`u1`, `u2`, `u4`, `i4`, `f4`, `f8`) and its little-endian bytes in base64."""
    import numpy as np

    array = np.ascontiguousarray(values)
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    return {"kind": kind, "data": b64encode(array.astype(f"<{kind}", copy=False).tobytes()).decode("ascii")}


def fewest_bytes(n: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type that counts to `n`."""
    import numpy as np

    return next((kind for kind in (np.uint8, np.uint16) if n <= np.iinfo(kind).max), np.uint32)


def packed_map(values: Float32Array, box: tuple[float, float, float, float], size: tuple[int, int]) -> dict[str, Any]:
    """A heatmap in few bytes: 255 steps from 0 to its largest value, and its place as shares of a picture's size."""
    import numpy as np

    largest = float(values.max(initial=0))
    steps = np.zeros(values.shape) if largest <= 0 else np.clip(values, 0, None) / largest * STEPS
    (left, top, right, bottom), (width, height) = box, size
    return {
        "box": [left / width, top / height, right / width, bottom / height],
        "columns": values.shape[1],
        "largest": largest,
        "values": packed(steps.round().astype(np.uint8).ravel()),
    }
