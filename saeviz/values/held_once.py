"""Large values that are equal are held in memory once: the spaces of a store mostly have the same images."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.values.texts import Texts

    A = TypeVar("A", bound=NDArray[np.generic])

_KNOWN: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()


def texts_held_once(texts: Texts) -> Texts:
    """Texts, or equal ones that are in memory already."""
    if not texts:
        return texts
    known: Texts = _KNOWN.setdefault((len(texts), texts[0], texts[-1]), texts)
    return known if known == texts else texts


def array_held_once(array: A) -> A:
    """An array, or an equal one that is in memory already; read-only."""
    import numpy as np

    if not array.size:
        return array
    array.flags.writeable = False
    ends = array[[0, array.size // 2, -1]].tobytes()
    known: A = _KNOWN.setdefault((array.dtype.str, array.size, ends), array)
    return known if np.array_equal(known, array) else array
