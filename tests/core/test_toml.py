"""TOML that saeviz writes or prints reads back, whatever is in it; and what is watched counts images."""

from __future__ import annotations

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import saeviz
from saeviz.formats.toml import to_toml, toml_key, toml_value
from saeviz.testing.fakes import FakeEmbeddings

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["C:\\Users\\ada\\new", 'say "yes"', "a'b", "line\nbreak\ttab", "\x00\x1f\x7f", "'''", '"""', "é🙂", "\\u0041"]
)
values = st.recursive(
    texts | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(texts, values)
def test_a_value_stands_on_one_line_and_reads_back(name, value):
    line = f"{toml_key(name)} = {toml_value(value)}"

    assert tomllib.loads(line) == {name: value}
    assert "\n" not in line


@pytest.mark.slow
@given(st.dictionaries(texts, values, max_size=4))
def test_tables_read_back_and_none_is_left_out(tables):
    assert tomllib.loads(to_toml({**tables, "left out": None})) == {
        name: value for name, value in tables.items() if name != "left out"
    }


def test_every_line_of_a_new_run_file_is_valid(saeviz_command, tmp_path):
    saeviz_command("init", "run.toml")
    text = (tmp_path / "run.toml").read_text(encoding="utf-8")
    examples = re.findall(r"^# (\w+ = .+)$", text, re.MULTILINE)

    assert tomllib.loads(text)["images"]["path"] == "images"
    assert len(examples) > 30
    for example in examples:
        tomllib.loads(example)


def test_a_copy_prints_the_table_of_its_place(saeviz_command, fake_run, tmp_path):
    saeviz_command("run", fake_run, "--until", "extract")
    place = tmp_path / "a 'b' \"c\" \\ d"
    ended = saeviz_command("store", "copy", "runs/fake", f"npz:{place}")
    printed = "\n".join(line.strip() for line in ended.err.splitlines() if re.match(r"\s+(\[|\w+ = )", line))

    assert ended.code == 0
    assert tomllib.loads(printed)["store"] == {"use": "npz", "path": str(place)}


@pytest.mark.slow
def test_embedding_counts_images_and_not_portions(fake_run, monkeypatch):
    totals = {}
    watched = saeviz.pipeline.session.watched

    def noted(items, total, label, **choices):
        given = list(items)
        totals[label] = (total, len(given))
        return watched(given, total, label, **choices)

    monkeypatch.setattr("saeviz.pipeline.session.watched", noted)
    monkeypatch.setattr("saeviz.pipeline.stages.embed.CHUNK", 5)
    sizes = []
    embed = FakeEmbeddings.embed
    monkeypatch.setattr(FakeEmbeddings, "embed", lambda self, items: (sizes.append(len(items)), embed(self, items))[1])
    saeviz.run(fake_run)

    assert totals["embed"] == (24, 24)
    assert max(sizes) == 5
