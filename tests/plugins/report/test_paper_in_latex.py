"""What `saeviz paper` writes, typeset by LaTeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

import pandas as pd
import pytest

import saeviz
from saeviz_report import PaperOptions
from saeviz_report.paper import Paper
from tests.conftest import FAKES

PROGRAMS = ("pdflatex", "bibtex", "kpsewhich")
PACKAGES = ("natbib.sty", "longtable.sty", "booktabs.sty")
HOSTILE = (
    '50% & $x_1$ \\input{/etc/passwd} \\undefined #~^{} [6pt] * \\\\ \\end{document} \n\x1b[31m\u202e=1+1 -- ?` "q"'
)
LETTERS = "".join(
    map(chr, (*range(32, 127), 0xE4, 0xDF, 0xE9, 0xF1, 0xB0, 0xB1, 0xB5, 0xD7, 0x2013, 0x2014, 0x2019, 0x201C, 0x2026))
)
DOCUMENT = r"""\documentclass{article}
ENCODING
\usepackage{natbib,longtable,booktabs}
\begin{document}
\input{methods}
\input{features}
\input{relations}
\bibliographystyle{plainnat}
\bibliography{references}
The end.
\end{document}
"""


def what_is_missing() -> str:
    """Why nothing can be typeset here, '' if it can."""
    if lacking := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"{lacking[0]} is not on the path"
    found = subprocess.run(["kpsewhich", *PACKAGES], capture_output=True, text=True, check=False)
    return "" if found.returncode == 0 else f"LaTeX lacks one of {', '.join(PACKAGES)}"


class Hostile(saeviz.Run):
    """A run whose labels and ratings would like to be commands."""

    @property
    def labels(self) -> dict[saeviz.Feature, saeviz.FeatureLabel]:
        words = (HOSTILE, LETTERS)
        return {one: saeviz.FeatureLabel(words[n % 2], "") for n, one in enumerate(super().labels)}

    @property
    def ratings(self) -> list[str]:
        return [HOSTILE, LETTERS]

    @cached_property
    def correlations(self) -> pd.DataFrame:
        return super().correlations.replace({"rating": {"warmth": HOSTILE, "noise": LETTERS}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("paper")
    run = saeviz.run(
        {
            "images": {"use": "fake-images", "n": 60},
            "extractor": {"use": "fake-extractor", "layers": [1]},
            "embeddings": {"use": "fake-embeddings"},
            "scorers": [{"use": "monosemanticity", "draws": 0}, {"use": "pearson-bh"}],
            "labeler": {"use": "fake-labeler"},
            "reporters": [],
            "run": {"dir": str(where / "run")},
        },
        plugins=[FAKES],
    )
    run.__class__ = Hostile
    return Paper(PaperOptions(folder=where / "paper"), saeviz.Context()).write(run).parent


@pytest.mark.slow
@pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "all is there")
@pytest.mark.parametrize("encoding", ["[OT1]{fontenc}", "[T1]{fontenc}"])
def test_hostile_names_are_typeset_without_an_error(folder, tmp_path, encoding):
    paper = Path(shutil.copytree(folder, tmp_path / "paper"))
    (paper / "main.tex").write_text(DOCUMENT.replace("ENCODING", rf"\usepackage{encoding}"))
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main"]
    draft = [*latex[:1], "-draftmode", *latex[1:]]
    for command in (draft, ["bibtex", "main"], draft, latex):
        done = subprocess.run(command, cwd=paper, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-3000:]
    log = (paper / "main.log").read_text(errors="replace")
    assert "undefined" not in log, "no citation without its reference"
    assert "/etc/passwd" not in re.findall(r"\((/\S+)", log)
    assert (paper / "main.pdf").stat().st_size > 10_000
