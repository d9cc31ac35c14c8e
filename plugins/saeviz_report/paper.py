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
    "columns.csv", "files.csv",
)  # fmt: skip
_BY_HAND = "label_by_hand"
_FEATURE = ("feature", "label", _BY_HAND, "tier", "monosemanticity", "n_active", "verdict", "reason")
_FIGURES = (
    "n", "n_active", "r", "ci_low", "ci_high", "p", "q", "significant", "r_corrected", "ci_low_corrected",
    "ci_high_corrected", "n_held_out", "r_held_out", "ci_low_held_out", "ci_high_held_out", "q_held_out", "replicated",
    "negligible", "ci_low_bootstrap", "ci_high_bootstrap", "stability",
)  # fmt: skip
_OWN = (
    saeviz.ColumnInfo("feature", "space and number of the feature"),
    saeviz.ColumnInfo(_BY_HAND, "name that a person gave the feature"),
    saeviz.ColumnInfo("rating", "name of the rating"),
)
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
        further = [name for name in run.scores if name not in (*_FEATURE, *saeviz.KEYS)]
        features, relations = _frame(map(_feature, rows), [*columns, *further]), _frame(_relations(rows), ())
        write_csv(folder / "features.csv", features)
        write_csv(folder / "relations.csv", relations)
        of_features, of_relations = _infos(run), _infos_of_relations(run, method)
        shown = features[list(columns[:-1])]
        write_atomic(folder / "features.tex", _as_latex(shown, "Selected features", of_features))
        write_atomic(folder / "relations.tex", _as_latex(*_significant(relations, method), of_relations))
        told = [*_told("features.csv", features, of_features), *_told("relations.csv", relations, of_relations)]
        write_csv(folder / "columns.csv", _frame(told, ("file", "column", "description", "unit", "better")))
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
        **row.scores,
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
            others = [name for name in relation if name not in (*_FIGURES, *saeviz.KEYS, "rating", "label")]
            of_differences = saeviz.difference_columns(relation)
            shown = [name for name in others if name not in of_differences]
            figures = {name: relation.get(name) for name in (*_FIGURES, *shown) if name in relation}
            of_label = row.label_ratings.get(rating, {})
            on_label = {name: of_label[given] for name, given in _OF_LABEL.items() if given in of_label}
            yield {"feature": str(row.feature), "label": row.label.label, "rating": rating, **figures, **on_label}


def _frame(rows: Any, columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    found = list(rows)
    return pd.DataFrame(found, columns=list(columns) or None)


def _infos(run: saeviz.Run) -> dict[str, saeviz.ColumnInfo]:
    """What is known of the columns of `features.csv`."""
    of_selection, of_judge = run.columns["selected"], run.columns["judgements"]
    of_core = {name: of_selection[name] for name in ("label", "tier", "reason")} | {"verdict": of_judge["verdict"]}
    return {**run.columns["scores"], **of_core, **{info.name: info for info in _OWN}}


def _infos_of_relations(run: saeviz.Run, method: Method) -> dict[str, saeviz.ColumnInfo]:
    """What is known of the columns of `relations.csv`."""
    known, of_label = _infos(run), run.columns["label_ratings"]
    own = {name: of_label[given] for name, given in _OF_LABEL.items()}
    return {**method.infos, **{name: known[name] for name in ("feature", "label", "rating")}, **own}


def _told(file: str, table: pd.DataFrame, infos: Mapping[str, saeviz.ColumnInfo]) -> Iterator[dict[str, Any]]:
    for name in table:
        info = infos.get(name) or saeviz.ColumnInfo(name)
        known = {"description": info.description, "unit": info.unit, "better": info.better or ""}
        yield {"file": file, "column": name, **known}


def _significant(relations: pd.DataFrame, method: Method) -> tuple[pd.DataFrame, str]:
    """The relations that LaTeX shows: the significant ones, or all where nothing says which are."""
    part = "held_out" if method.has_held_out else "corrected"
    after = [f"{name}_{part}" for name in ("r", "ci_low", "ci_high")]
    columns = [name for name in (*_SHORT, *after) if name in relations]
    if "significant" in relations:
        relations = relations[relations["significant"] == 1]
    return relations[columns], f"Significant relations of the selected features with ratings ({method.measure})"


def _as_latex(table: pd.DataFrame, caption: str, infos: Mapping[str, saeviz.ColumnInfo]) -> str:
    heads = {name: _HEADS.get(name, name.replace("_", " ")) for name in table}
    told = [f"{head}: {infos[name].words}" for name, head in heads.items() if name in infos and name not in _PLAIN]
    rows = (list(row.values()) for row in table.to_dict("records"))
    return latex.table(list(heads.values()), rows, ". ".join([caption, *told]))


_PLAIN = {info.name for info in _OWN} | {"label"}
"""Columns that need no words in a caption."""
_HEADS: Mapping[str, str] = {"n_active": "active on", "ci_low": "from", "ci_high": "to"}
