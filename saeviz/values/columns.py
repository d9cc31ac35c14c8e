"""What the columns of a run's tables mean: a description, a unit, and whether higher or lower is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from saeviz.values.errors import MalformedError

Better = Literal["higher", "lower"]
LONGEST = 400
"""Characters of a description."""
IN_ATTRS = "columns"
"""The key in the `attrs` of a DataFrame; pandas writes these to Parquet and reads them again."""


@dataclass(frozen=True)
class ColumnInfo:
    """Describes a column that a scorer gives.

    A `name` that ends in `.*` is that of all columns whose names begin so, such as `predicted.*`. `description` is a
    phrase of one line, without a full stop; `unit` is empty for a number without one. `better` says in which direction
    a value is better, None for a column without one, such as text or a signed correlation. `option` names the option of
    the scorer without which it does not give the column. Raises `DataError` for anything else.
    """

    name: str
    description: str = ""
    unit: str = ""
    better: Better | None = None
    option: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise MalformedError(f"a column with the name {self.name!r}, which must be text")
        for field in ("description", "unit", "option"):
            value = getattr(self, field)
            if not (isinstance(value, str) and len(value) <= LONGEST and value.isprintable()):
                raise MalformedError(
                    f"column {self.name!r}: its {field} must be one line of text, at most {LONGEST} characters; it is "
                    f"{value!r}"
                )
        if self.better not in (None, "higher", "lower"):
            raise MalformedError(f"column {self.name!r}: better is {self.better!r}, not 'higher', 'lower' or None")

    @property
    def words(self) -> str:
        """All that is known, in words: `number of raters among whose images the feature varies [raters]`."""
        parts = (self.description, f"[{self.unit}]" if self.unit else "")
        known = " ".join(part for part in parts if part)
        return "; ".join(part for part in (known, f"{self.better} is better" if self.better else "") if part)


OF_EVERY_RUN = (
    ColumnInfo("n_active", "number of images on which the feature fires", "images"),
    ColumnInfo("max", "largest activation on an image"),
    ColumnInfo("mean", "mean activation over all images, of which most may be 0"),
    ColumnInfo("l0.*", "number of features of a space that are active on the image", "features"),
)
"""The columns that the core computes itself, for every run."""


OF_EXTRACTORS = (
    ColumnInfo(
        "reconstruction_error.*", "share of the variance of an image that the SAE leaves unexplained", "", "lower"
    ),
)
"""A number of images that reports know whichever extractor gives it."""


def described(columns: Iterable[str | ColumnInfo]) -> tuple[ColumnInfo, ...]:
    """All as `ColumnInfo`; of one that is a name, nothing is known."""
    return tuple(ColumnInfo(one) if isinstance(one, str) else one for one in columns)


def infos_of(names: Iterable[str], infos: Iterable[ColumnInfo]) -> dict[str, ColumnInfo]:
    """What is known of the columns with these names; those of which nothing is known are left out."""
    exact: dict[str, ColumnInfo] = {}
    for info in infos:
        exact.setdefault(info.name, info)
    patterns = [(name[:-1], info) for name, info in exact.items() if name.endswith(".*")]
    found = {}
    for name in names:
        known = exact.get(name) or next((one for start, one in patterns if name.startswith(start)), None)
        if known is not None:
            found[name] = known
    return found


def info_of(name: str, infos: Iterable[ColumnInfo]) -> ColumnInfo | None:
    """What is known of the column with this name."""
    return infos_of([name], infos).get(name)


def is_there(wanted: str, names: Iterable[str]) -> bool:
    """Whether a column that is needed is among these; both may be patterns such as `*replicated`."""
    return any(fnmatchcase(name, wanted) or fnmatchcase(wanted, name) for name in names)


class _Attrs(dict[str, Any]):
    """Is not copied with each of the many tables that pandas makes of one."""

    def __deepcopy__(self, _memo: Any) -> _Attrs:
        return self


def attrs_of(names: Iterable[str], infos: Iterable[ColumnInfo]) -> dict[str, Any]:
    """The `attrs` of a DataFrame with these columns: what is known of them, as can be written as JSON.

    An entry such as `predicted.*` is that of many columns.
    """
    used = dict.fromkeys(infos_of(names, (info for info in infos if info.words)).values())
    listed = {info.name: {"description": info.description, "unit": info.unit, "better": info.better} for info in used}
    return {IN_ATTRS: _Attrs(listed)} if listed else {}


def infos_in(attrs: Any) -> list[ColumnInfo]:
    """What the `attrs` of a table say of its columns; what is not as a run writes it is left out."""
    listed = attrs.get(IN_ATTRS) if isinstance(attrs, Mapping) else None
    found = []
    for name, info in listed.items() if isinstance(listed, Mapping) else ():
        if isinstance(info, Mapping):
            try:
                found.append(ColumnInfo(name, info["description"], info["unit"], info["better"]))
            except (MalformedError, LookupError):
                continue
    return found
