"""The reference has everything that there is: options, columns, files, commands, hooks and public names."""

from __future__ import annotations

import pytest

import saeviz
from docs import generated
from saeviz.cli import saeviz as saeviz_command
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats import judgements, label_scores
from saeviz.formats.rundir import RunDir
from saeviz.values.columns import info_of
from tests.conftest import ROOT

REFERENCE = ROOT / "docs" / "reference"
TABLES = (REFERENCE / "tables.md").read_text(encoding="utf-8")
FORMATS = (REFERENCE / "formats.md").read_text(encoding="utf-8")


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
    for name in saeviz.__all__:
        lines = [line for text in pages.values() for line in text.splitlines() if line.endswith(f":: saeviz.{name}")]
        assert len(lines) == 1, name


def test_every_page_is_in_a_table_of_contents(pages):
    text = "".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    missing = [name for name in pages if f"generated/{name.removesuffix('.md')}\n" not in text]
    assert all(name.startswith("error-") for name in missing)
    assert "generated/error-*" in text


def test_every_column_of_a_run_is_described(finished_copy, specs):
    infos = [info for spec in specs for info in getattr(spec, "infos", ())]
    tables = [finished_copy.scores, finished_copy.correlations, finished_copy.images_table.reset_index()]
    found = {name for table in tables for name in table.columns} | {*judgements.COLUMNS, *label_scores.COLUMNS}
    unknown = {
        name for name in found if f"`{name}`" not in TABLES and info_of(name, infos) is None and name[:3] != "l0."
    }
    assert not unknown


def test_every_file_of_a_run_is_described(finished_copy, tmp_path):
    files = {path.name for path in finished_copy.dir.iterdir() if path.name != "reporter"}
    files |= {value.name for value in vars(RunDir(tmp_path)).values() if hasattr(value, "name")}
    assert not {name for name in files - {tmp_path.name} if f"`{name}" not in FORMATS}


def test_every_command_has_a_summary():
    for name, command in saeviz_command.commands.items():
        assert command.help, name
