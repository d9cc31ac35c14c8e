"""`selected.csv`: the features that matter, best first."""

from __future__ import annotations

from collections.abc import Sequence

from saeviz.errors import RunDirError
from saeviz.rundir import RunDir
from saeviz.types import Feature, Selected

COLUMNS = ["layer", "tokens", "feature", "tier", "reason"]


def write_selected(rundir: RunDir, selected: Sequence[Selected]) -> None:
    """Replace the file."""
    import pandas as pd

    rows = [(s.feature.layer, s.feature.tokens, s.feature.index, s.tier, s.reason) for s in selected]
    rundir.write_csv(rundir.selected, pd.DataFrame(rows, columns=COLUMNS))


def read_selected(rundir: RunDir) -> list[Selected]:
    """The choices; raises `RunDirError` where the file is missing or damaged."""
    table = rundir.read_csv(rundir.selected, "select")
    try:
        return [
            Selected(Feature(int(row.layer), row.tokens, int(row.feature)), int(row.tier), str(row.reason))
            for row in table.itertuples()
        ]
    except (AttributeError, ValueError) as error:
        raise RunDirError(f"{rundir.selected} is damaged ({error}); make it again with --redo select") from error
