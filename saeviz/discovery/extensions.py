"""What installed packages add by entry points besides plugins: formats of SAEs, and SAEs that are known by name."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from saeviz.contract.saes import KnownSAE
from saeviz.discovery.foreign import ForeignError, foreign_code
from saeviz.discovery.metadata import KNOWN_SAES, SAE_FORMATS
from saeviz.values.errors import PluginError, SaevizError

UNKNOWN = "unknown distribution"
OF_A_FORMAT = ("CONFIG_NAMES", "WEIGHTS_NAMES", "claims", "read_config", "read_weights")


@dataclass(frozen=True)
class Extension:
    """An entry point of a package, and the `value` that it leads to.

    For one that cannot be used `reason` says why, and `details` is the traceback if its own code failed.
    """

    group: str
    name: str
    origin: str
    value: Any = None
    reason: str = ""
    details: str = ""

    @property
    def package(self) -> str | None:
        """The name of the package that it is from; None if that is not known."""
        return None if self.origin == UNKNOWN else self.origin.rpartition(" ")[0]

    @property
    def title(self) -> str:
        """What the entry points of its group are."""
        return GROUPS[self.group][0]

    @property
    def summary(self) -> str:
        """What it adds, in a line."""
        if self.group == KNOWN_SAES:
            return ", ".join(known.name for known in self.value[:3]) + (", ..." if len(self.value) > 3 else "")
        return f"files such as {self.value.CONFIG_NAMES[0]}"

    def __str__(self) -> str:
        return f"{self.title} {self.name!r} ({self.origin})" + (f" is left out: {self.reason}" if self.reason else "")


@cache
def extensions(group: str) -> tuple[Extension, ...]:
    """All entry points of a group, loaded, by package and name; those that are broken too."""
    points = {(_origin(point), point.name, point.value): point for point in entry_points(group=group)}
    found: list[Extension] = []
    for (origin, name, _), point in sorted(points.items(), key=lambda entry: entry[0]):
        taken = next((other for other in found if other.name == name and not other.reason), None)
        reason = f"its name is already that of {taken}" if taken else ""
        found.append(Extension(group, name, origin, reason=reason) if reason else _loaded(group, point, origin))
    return tuple(found)


def left_out(group: str) -> str:
    """End of a message: which entry points of a group are broken, and why; empty if none is."""
    return "".join(f"; {one}" for one in extensions(group) if one.reason)


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else UNKNOWN


def _loaded(group: str, point: EntryPoint, origin: str) -> Extension:
    try:
        with foreign_code("it fails", imported=True):
            return Extension(group, point.name, origin, GROUPS[group][1](point.load()))
    except ForeignError as error:
        return Extension(group, point.name, origin, reason=str(error), details=error.details)
    except PluginError as error:
        return Extension(group, point.name, origin, reason=str(error))
    except SaevizError as error:
        return Extension(group, point.name, origin, reason=f"it fails: {error}", details=traceback.format_exc())


def _format(value: Any) -> Any:
    lacking = [name for name in OF_A_FORMAT if not hasattr(value, name)]
    if lacking:
        raise PluginError(f"it lacks {', '.join(lacking)}")
    for name in OF_A_FORMAT[:2]:
        names = getattr(value, name)
        if not isinstance(names, list | tuple) or not names or not all(one and isinstance(one, str) for one in names):
            raise PluginError(f"its {name} is {names!r:.60}; a tuple of file names belongs there")
    return value


def _known(value: Any) -> tuple[KnownSAE, ...]:
    known = tuple(value) if isinstance(value, Iterable) else (value,)
    wrong = next((one for one in known if not isinstance(one, KnownSAE)), None)
    if wrong is not None:
        raise PluginError(f"it has a {type(wrong).__name__} where a KnownSAE belongs; it must lead to a list of these")
    for one in known:
        texts = (one.name, one.id, one.extractor, one.format)
        if not all(isinstance(text, str) for text in texts) or "/" in one.name or one.id.count("/") != 1:
            raise PluginError(f"its SAE {one.name!r} has the id {one.id!r}; owner/repository belongs there")
        figures = (one.explained_variance, one.l0, one.l0_cls)
        is_said = all(isinstance(text, str) for text in (one.tokens, one.architecture, one.hook))
        if not (is_said and isinstance(one.layer, int | str | None) and all(map(_is_number_or_none, figures))):
            raise PluginError(f"its SAE {one.name!r} has text where a number belongs, or something else for text")
    return known


def _is_number_or_none(value: object) -> bool:
    return isinstance(value, int | float | None)


GROUPS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    SAE_FORMATS: ("SAE format", _format),
    KNOWN_SAES: ("known SAEs", _known),
}
"""Of each group what its entry points are called, and what checks the object that one leads to."""
