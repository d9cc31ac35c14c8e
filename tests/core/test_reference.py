"""The reference has everything that there is: options, columns, files, commands, hooks and public names."""

from __future__ import annotations

import pandas as pd
import pytest

import saeviz
from docs import contents, generated
from saeviz.cli import saeviz as saeviz_command
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats import judgements, label_scores, selection
from saeviz.formats.contents import FILES, TABLES
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.components import PROTOCOLS
from saeviz.values.columns import info_of
from tests.conftest import ROOT

ROLES_HAVE = list(PROTOCOLS.values())
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def pages():
    return generated.pages()


@pytest.fixture(scope="module")
def specs():
    manager = Manager.discover(PluginChoice.parse([""], ROOT))
    return [offer.spec for offer in manager.offers.values()]


def test_every_option_is_described(specs, pages):
    for spec in specs:
        page = pages[f"components-{spec.role}.md"]
        part = page.partition(f"\n## {spec.name}\n")[2].partition("\n## ")[0]
        assert spec.summary.split()[0] in part
        for name, field in spec.options.model_fields.items():
            assert field.description, (spec.name, name)
            assert f"| `{name}` |" in part, (spec.name, name)


def test_every_public_name_is_on_one_page(pages):
    lines = "\n".join(pages.values()).splitlines()
    there = [
        line.rpartition(".")[2] for line in lines if line.startswith((".. autoclass::", ".. autofunc", ".. autodata"))
    ]
    for name in saeviz.__all__:
        assert there.count(name) == 1, name


def test_every_page_is_in_a_table_of_contents(pages):
    text = "".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    missing = [name for name in pages if f"generated/{name.removesuffix('.md')}\n" not in text]
    assert all(name.startswith("error-") for name in missing)
    assert "generated/error-*" in text


def test_columns_and_files_on_the_pages_are_those_of_the_code():
    for path, text in contents.pages().items():
        assert path.read_text(encoding="utf-8") == text, "make docs writes it again"


def test_every_column_of_a_run_is_described(finished_copy, specs):
    of_components = [info for spec in specs for info in spec.infos]
    for table in TABLES:
        path = finished_copy.dir / table.file
        if path.exists():
            names = list(pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path))
            known = [*table.columns, *(of_components if table.more else ())]
            assert [name for name in names if info_of(name, known) is None] == [], table.file
    tables = {table.file: [info.name for info in table.columns] for table in TABLES}
    assert tables["judgements.parquet"] == list(judgements.COLUMNS)
    assert tables["label_ratings.parquet"] == list(label_scores.COLUMNS)
    assert set(tables["selected.csv"]) >= {*selection.FIGURES, *selection.STABILITIES}
    assert all(info.description for table in TABLES for info in table.columns)


def test_every_file_of_a_run_is_described(finished_copy, tmp_path):
    described = {file.name.partition("/")[0] for file in FILES}
    files = {path.name for path in finished_copy.dir.iterdir() if path.name != "reporter"}
    assert files - described == set(), "what is left are working folders of components"
    rundir = {value.name for value in vars(RunDir(tmp_path)).values() if hasattr(value, "name")} - {tmp_path.name}
    assert rundir - described == set()


def test_every_capability_is_described():
    text = (REFERENCE / "hooks.md").read_text(encoding="utf-8")
    public = {name: getattr(saeviz, name) for name in saeviz.__all__}
    optional = [name for name, one in public.items() if getattr(one, "_is_protocol", False) and one not in ROLES_HAVE]
    parts = {"BlockScores", "MergingScores", "SAEFormat"}  # what a capability returns, and what is no component
    assert not [name for name in optional if name not in parts and f"| `{name}." not in text]


def test_every_command_has_a_summary():
    for name, command in saeviz_command.commands.items():
        assert command.help, name
