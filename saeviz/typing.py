"""Array types for annotations; imports NumPy, so import it under `TYPE_CHECKING`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CSR = Any  # a scipy.sparse.csr_array; SciPy ships no types
FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]
