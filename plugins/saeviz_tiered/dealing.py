"""Which features are selected if there are more than places: by strength, and a fair share for each rating."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from saeviz import KEYS

if TYPE_CHECKING:
    import pandas as pd

_RELATION = ["rating", "r", "size", "q", "found"]


def deal(best: pd.DataFrame, relations: pd.DataFrame, places: int, *, ms_good: float) -> pd.DataFrame:
    """At most `places` rows of `best`, each with the relation it was chosen for.

    Half of the places go to the strongest of the `relations`, whichever rating they are with. For the other half the
    ratings and monosemanticity take turns, each naming its best feature that is not in yet, until all places are
    taken. `relations` come strongest first.
    """
    numbered = best.reset_index(drop=True)
    numbered.insert(0, "row", numbered.index)
    relations = relations.merge(numbered[["row", *KEYS]], on=KEYS, how="inner")  # keeps the order of the left
    relations.insert(0, "relation", relations.index)
    pairs = relations[["row", "relation"]]
    chosen: dict[int, int | None] = {}  # the row of a feature -> the relation it was chosen for
    for row, relation in pairs.drop_duplicates("row").head((places + 1) // 2).itertuples(index=False):
        chosen[int(row)] = int(relation)
    lines: list[Iterator[tuple[int, int | None]]] = [
        iter([(int(row), int(relation)) for row, relation in own[["row", "relation"]].itertuples(index=False)])
        for _, own in relations.groupby("rating", sort=False)
    ]
    interpretable = numbered[numbered["ms"] >= ms_good].sort_values(
        ["tier", "ms", *KEYS], ascending=[True, False] + [True] * len(KEYS)
    )
    lines.append(iter([(int(row), None) for row in interpretable["row"]]))
    for row, relation in islice(_in_turn(lines, chosen), places - len(chosen)):
        chosen[row] = relation
    found = numbered.loc[list(chosen)].drop(columns="row")
    named = [row for row, relation in zip(found.index, chosen.values(), strict=True) if relation is not None]
    told = [relation for relation in chosen.values() if relation is not None]
    found.loc[named, _RELATION] = relations.loc[told, _RELATION].to_numpy()
    return found.astype({"r": float, "size": float, "q": float})


def _in_turn(
    lines: Sequence[Iterator[tuple[int, int | None]]], taken: dict[int, int | None]
) -> Iterator[tuple[int, int | None]]:
    """From each line in turn the first that is not taken, until all lines are empty.

    Each must be taken before the next one is requested.
    """
    waiting = list(lines)
    while waiting:
        for line in list(waiting):
            following = next((pair for pair in line if pair[0] not in taken), None)
            if following is None:
                waiting.remove(line)
            else:
                yield following
