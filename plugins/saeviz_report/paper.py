"""What a paper needs of a run: a methods paragraph, references, tables, and the hashes of the files that were used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import saeviz
from saeviz.toolkit.files import read_regular, write_atomic, write_csv
from saeviz_report import PaperOptions, latex
from saeviz_report.hashes import file_table
from saeviz_report.method import Method, method_of
from saeviz_report.methods_text import paragraph, sentences, written
from saeviz_report.rows import FeatureRow, feature_rows

if TYPE_CHECKING:
    import pandas as pd

FILES = (
    "methods.tex", "methods.txt", "references.bib", "features.csv", "features.tex", "relations.csv", "relations.tex",
    "files.csv",
)  # fmt: skip
_BY_HAND = "label_by_hand"
_FEATURE = ("feature", "label", _BY_HAND, "tier", "monosemanticity", "n_active", "verdict", "reason")
_FIGURES = (
    "n", "n_active", "r", "ci_low", "ci_high", "p", "q", "significant", "r_corrected", "ci_low_corrected",
    "ci_high_corrected", "n_held_out", "r_held_out", "ci_low_held_out", "ci_high_held_out", "q_held_out", "replicated",
    "negligible", "ci_low_bootstrap", "ci_high_bootstrap", "stability",
)  # fmt: skip
_OF_LABEL = {
    **{f"{name}_label": name for name in ("n", "r", "ci_low", "ci_high", "p", "q")},
    **{f"{name}_on_images_of_label": f"{name}_feature" for name in ("r", "ci_low", "ci_high")},
}
"""The columns of how the name goes with the rating, and the feature on the same images."""
_SHORT = ("feature", "label", "rating", "n", "r", "ci_low", "ci_high", "q")
"""The columns of the relations in LaTeX, which has to fit a page, but for those after selection."""


class Paper:
    """Writes methods, `references.bib`, tables as CSV and LaTeX, `files.csv`, and the hashes of these."""

    def __init__(self, options: PaperOptions, context: saeviz.Context) -> None:
        self.options = options
        self.context = context

    def write(self, run: saeviz.Run) -> Path:
        """Write all files and return the path of `methods.tex`."""
        folder = self.options.folder or run.dir / "paper"
        method = method_of(run)
        self._write_methods(run, method, folder)
        rows = feature_rows(run, method)
        columns = _FEATURE if any(row.note.label for row in rows) else [name for name in _FEATURE if name != _BY_HAND]
        features, relations = _frame(map(_feature, rows), columns), _frame(_relations(rows), ())
        write_csv(folder / "features.csv", features)
        write_csv(folder / "relations.csv", relations)
        write_atomic(folder / "features.tex", _as_latex(features, columns[:-1], "Selected features"))
        write_atomic(folder / "relations.tex", _as_latex(*_significant(relations, method)))
        write_csv(folder / "files.csv", file_table(run, self.context))
        sums = [f"{sha256(read_regular(folder / name)).hexdigest()}  {name}\n" for name in FILES]
        write_atomic(folder / "SHA256SUMS", "".join(sums))  # `saeviz paper` knows by it what it may overwrite
        return folder / "methods.tex"

    def _write_methods(self, run: saeviz.Run, method: Method, folder: Path) -> None:
        found, keys = sentences(run, method), latex.keys(method.citations)

        def cite(cited: Sequence[Any]) -> str:
            return rf"\citep{{{','.join(keys[citation] for citation in cited)}}}"

        write_atomic(folder / "methods.tex", written(found, method.citations, cite, latex.escaped_part))
        write_atomic(folder / "methods.txt", paragraph(run, method))
        write_atomic(folder / "references.bib", latex.bibtex(method.citations))


def _feature(row: FeatureRow) -> dict[str, Any]:
    return {
        "feature": str(row.feature),
        "label": row.label.label,
        _BY_HAND: row.note.label,
        "tier": row.tier,
        "monosemanticity": row.scores.get("monosemanticity"),
        "n_active": row.scores.get("n_active"),
        "verdict": (row.judgement or {}).get("verdict", ""),
        "reason": row.reason,
    }


def _relations(rows: Sequence[FeatureRow]) -> Iterator[dict[str, Any]]:
    for row in rows:
        for rating, relation in row.relations.items():
            figures = {name: relation.get(name) for name in _FIGURES if name in relation}
            of_label = row.label_ratings.get(rating, {})
            on_label = {name: of_label[given] for name, given in _OF_LABEL.items() if given in of_label}
            yield {"feature": str(row.feature), "label": row.label.label, "rating": rating, **figures, **on_label}


def _frame(rows: Any, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    found = list(rows)
    return pd.DataFrame(found, columns=list(columns) or None)


def _significant(relations: pd.DataFrame, method: Method) -> tuple[pd.DataFrame, Sequence[str], str]:
    """The relations that LaTeX shows: the significant ones, or all where nothing says which are."""
    part = "held_out" if method.has_held_out else "corrected"
    after = [f"{name}_{part}" for name in ("r", "ci_low", "ci_high")]
    columns = [name for name in (*_SHORT, *after) if name in relations]
    if "significant" in relations:
        relations = relations[relations["significant"] == 1]
    return relations, columns, f"Significant relations of the selected features with ratings ({method.measure})"


def _as_latex(table: pd.DataFrame, columns: Sequence[str], caption: str) -> str:
    heads = [_HEADS.get(name, name.replace("_", " ")) for name in columns]
    rows = ([row[name] for name in columns] for row in table.to_dict("records"))
    return latex.table(heads, rows, caption)


_HEADS: Mapping[str, str] = {"n_active": "active on", "ci_low": "from", "ci_high": "to"}
