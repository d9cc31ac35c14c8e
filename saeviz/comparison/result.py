"""The result of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from saeviz.results.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common.

    `kind` is `relations` (the same SAEs: do relations with ratings hold in both?) or `features` (the same images: which
    features have a partner?). `tables` has every table by name, the first one being the summary. `notes` are sentences
    on what limits the comparison.
    """

    kind: Literal["relations", "features"]
    tables: Mapping[str, pd.DataFrame]
    notes: Sequence[str]


@runtime_checkable
class ComparisonReporter(Protocol):
    """Optional for a reporter: a page about a comparison."""

    def write_comparison(
        self, found: Comparison, runs: tuple[Run, Run], folder: Path, viewers: tuple[str, str] | None = None
    ) -> Path:
        """Write the page to a folder, beside the tables, and return the path of the file to open.

        `viewers` are the addresses of pages about the runs where both are served beside this one; with
        `#feature=layer11.cls/4711` behind it, such an address is that of a feature. `saeviz serve` lets a page load
        only files of the folder: no style or script inside it.
        """
        ...
