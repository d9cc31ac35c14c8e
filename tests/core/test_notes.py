"""Labels by hand, marks and notes: kept beside the run's results, shown with them, lost by nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import saeviz
from saeviz.formats.notes import NotesFile
from saeviz.pipeline.run import Plan
from saeviz.values.errors import ConfigError, RunDirError
from saeviz.values.features import Feature
from saeviz.values.notes import Note, NoteChangedError
from tests.conftest import FAKES
from tests.waiting import PATIENCE

FEATURE = Feature.parse("layer11.cls/3")
OTHER = Feature.parse("layer11.cls/5")


@pytest.fixture
def notes(tmp_path: Path) -> NotesFile:
    return NotesFile(tmp_path / "notes.jsonl")


def test_a_change_keeps_what_it_is_not_about(notes):
    notes.write(FEATURE, {"label": "red cars", "text": "seen on streets"})
    notes.write(OTHER, {"mark": "done"})
    note = notes.write(FEATURE, {"mark": "interesting", "text": ""})
    assert (note.label, note.mark, note.text) == ("red cars", "interesting", "")
    assert notes.read() == {FEATURE: note, OTHER: notes.read()[OTHER]}
    assert len(notes.path.read_text().splitlines()) == 3


def test_what_changes_nothing_writes_nothing(notes):
    first = notes.write(FEATURE, {"label": "red cars"})
    assert notes.write(FEATURE, {"label": "red cars"}) == first
    assert len(notes.path.read_text().splitlines()) == 1


def test_a_change_of_an_older_state_is_refused_with_the_newer_one(notes):
    seen = notes.write(FEATURE, {"label": "red cars"}, was="")
    newer = notes.write(FEATURE, {"label": "fire engines"}, was=seen.version)
    with pytest.raises(NoteChangedError, match=r"layer11\.cls/3") as refused:
        notes.write(FEATURE, {"label": "lorries"}, was=seen.version)
    assert refused.value.note == newer == notes.read()[FEATURE]


def test_a_torn_last_line_is_dropped_and_the_next_one_is_whole(notes):
    kept = notes.write(FEATURE, {"label": "red cars"})
    notes.write(OTHER, {"label": "green trees"})
    whole = notes.path.read_bytes()
    notes.path.write_bytes(whole[:-9])
    assert notes.read() == {FEATURE: kept}
    notes.write(OTHER, {"mark": "wrong"})
    assert notes.read()[OTHER].mark == "wrong"
    assert notes.read()[OTHER].label == ""


def test_a_changed_line_is_reported_and_not_dropped(notes):
    notes.write(FEATURE, {"label": "red cars"})
    notes.path.write_text(notes.path.read_text().replace("red", "big"))
    with pytest.raises(RunDirError, match=r"notes\.jsonl is damaged \(line 1: .* repair the line"):
        notes.read()
    with pytest.raises(RunDirError):
        notes.write(OTHER, {"mark": "done"})


def test_a_file_saved_in_another_encoding_is_to_be_repaired_and_not_removed(notes):
    notes.write(OTHER, {"mark": "done"})
    notes.write(FEATURE, {"label": "caf\xe9s"})
    notes.path.write_bytes(notes.path.read_text("utf-8").encode("latin-1"))
    with pytest.raises(RunDirError, match=r"damaged \(line 2: it is not UTF-8 text\); .* repair the line"):
        notes.read()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mark": None}, "its field 'mark' is not text"),
        ({"mark": "nice"}, "'nice' is not a mark; choose interesting, wrong, done, or '' for none"),
        ({"time": "then"}, "its field 'time' is not a time: 'then'"),
        ("mark", "it has no field 'mark'"),
        ("feature", "it has no field 'feature'"),
    ],
)
def test_a_line_that_was_repaired_wrongly_names_line_field_and_what_to_do(notes, change, reason):
    notes.write(OTHER, {"mark": "done"})
    notes.write(FEATURE, {"label": "red cars"})
    first, second = notes.path.read_text().splitlines()
    row = {name: value for name, value in json.loads(second).items() if name not in ("check", change)}
    changed = row | change if isinstance(change, dict) else row
    notes.path.write_text(f"{first}\n{json.dumps(changed)}\n")
    with pytest.raises(RunDirError) as refused:
        notes.read()
    said = str(refused.value)
    assert f"notes.jsonl is damaged (line 2: {reason}); what people wrote cannot be made again" in said
    assert "repair the line by hand, or remove it from the file" in said


def test_a_line_that_was_changed_on_purpose_counts_once_its_checksum_is_gone_as_the_message_says(notes):
    notes.write(OTHER, {"mark": "done"})
    notes.write(FEATURE, {"label": "red cars"})
    first, second = map(json.loads, notes.path.read_text().splitlines())
    second["label"] = "big cars"
    notes.path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    with pytest.raises(RunDirError, match=r'\(line 2: .* counts without its "check"'):
        notes.read()
    del second["check"]
    notes.path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    assert notes.read()[FEATURE].label == "big cars"


def test_a_feature_of_another_extractor_is_another_feature(tmp_path):
    one, other = (NotesFile(tmp_path / "notes.jsonl", extractor) for extractor in ("1a", "2b"))
    written = one.write(FEATURE, {"label": "red cars"})
    assert other.read_all() == ({}, {FEATURE: written})
    newer = other.write(FEATURE, {"mark": "done"}, was="")
    assert newer.label == ""
    assert other.read() == {FEATURE: newer}
    assert one.read_all() == ({FEATURE: written}, {FEATURE: newer})


def test_a_note_of_an_earlier_version_which_names_no_extractor_counts_for_any(notes, tmp_path):
    old = notes.write(FEATURE, {"label": "red cars"})
    assert "extractor" not in json.loads(notes.path.read_text())
    now = NotesFile(notes.path, "1a")
    assert now.read_all() == ({FEATURE: old}, {})
    newer = now.write(FEATURE, {"mark": "done"}, was=old.version)
    assert (newer.label, newer.mark) == ("red cars", "done")
    assert NotesFile(notes.path, "2b").read_all() == ({FEATURE: old}, {FEATURE: newer})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label": "a b c d e f"}, "6 words"),
        ({"label": "x" * 81}, "81 characters"),
        ({"label": "&amp;" * 200}, "1,000 characters"),
        ({"mark": "nice"}, "'nice' is not a mark; choose interesting, wrong, done, or '' for none"),
        ({"description": "x" * 1001}, "1,001 characters"),
        ({"text": "x" * 4001}, "4,001 characters"),
    ],
)
def test_what_cannot_be_noted_is_refused_with_the_reason(notes, changes, reason):
    with pytest.raises(ValueError, match=reason):
        notes.write(FEATURE, changes)
    assert not notes.path.exists()


def test_hostile_text_is_only_text_and_reads_as_it_was_written(notes):
    written = notes.write(
        FEATURE,
        {
            "label": "Label: Label: <b>red</b> &amp;amp;lt;i&amp;amp;gt;cars\x1b[31m",
            "description": "one\ntwo\u202e\ud800",
            "text": "first\r\n\x00second\u2028third",
        },
    )
    assert (written.label, written.description) == ("red cars", "one two")
    assert written.text == "first\nsecond\nthird"
    assert notes.read()[FEATURE] == written


def test_many_writers_lose_nothing(tmp_path):
    features = [Feature(11, "cls", index) for index in range(12)]
    with ThreadPoolExecutor(6) as pool:
        files = [NotesFile(tmp_path / "notes.jsonl") for _ in features]
        list(pool.map(lambda one: one[0].write(one[1], {"mark": "done"}), zip(files, features, strict=True)))
    assert set(files[0].read()) == set(features)


@pytest.mark.parametrize("name", ["notes.jsonl", ".notes.lock"])
def test_a_link_out_of_the_run_is_not_written_through(notes, tmp_path, name):
    elsewhere = tmp_path / "precious"
    elsewhere.write_text("mine\n")
    (tmp_path / name).symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="remove it"):
        notes.write(FEATURE, {"mark": "done"})
    assert elsewhere.read_text() == "mine\n"


WRITER = """
import sys
from pathlib import Path
from saeviz.formats.notes import NotesFile
from saeviz.values.features import Feature
notes = NotesFile(Path(sys.argv[1]))
for index in range(10_000):
    notes.write(Feature(11, "cls", index), {"text": "words " * 200})
    print(index, flush=True)
"""


@pytest.mark.slow
def test_killed_while_writing_nothing_that_was_confirmed_is_lost(notes):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(notes.path)], stdout=subprocess.PIPE, text=True)
    confirmed = [int(process.stdout.readline()) for _ in range(40)]
    os.kill(process.pid, signal.SIGKILL)
    confirmed += [int(line) for line in process.stdout]
    process.wait(PATIENCE)
    notes.write(OTHER, {"mark": "done"})
    assert set(notes.read()) >= {Feature(11, "cls", index) for index in confirmed}


@pytest.fixture
def directory(finished_run: Path) -> Path:
    return finished_run.parent / "runs" / "fake"


def opened(directory: Path) -> saeviz.Run:
    return saeviz.open_run(directory, plugins=[FAKES])


def noted(run: saeviz.Run) -> Feature:
    feature = next(iter(run.labels))
    run.notes.write(feature, label="crimson squares", description="Squares.", mark="wrong", text="not <only> red")
    return feature


def test_a_run_knows_its_notes_at_once(directory):
    run = opened(directory)
    assert len(run.notes) == 0
    feature = noted(run)
    other = opened(directory)
    assert run.notes[feature] == other.notes[feature]
    assert run.name(feature) == run.name(str(feature)) == "crimson squares"
    assert run.labels[feature].label != "crimson squares"
    assert run.notes.labels == {feature: saeviz.FeatureLabel("crimson squares", "Squares.")}
    other.notes.write(feature, label="", description="", mark="", text="")
    assert feature not in run.notes
    assert run.name(feature) == run.labels[feature].label
    with pytest.raises(ConfigError, match="no space"):
        run.notes.write("layer3.cls/0", mark="done")


def test_no_new_run_loses_a_note(finished_run, directory):
    feature = noted(opened(directory))
    kept = (directory / "notes.jsonl").read_bytes()
    for plan, settings in (
        (Plan(redo=("extract", "score", "select", "label", "judge", "report")), ()),
        (Plan(first="label", last="report"), ("labeler.use=none",)),
    ):
        run = saeviz.run(finished_run, plan=plan, settings=settings)
        assert (directory / "notes.jsonl").read_bytes() == kept
        assert run.name(feature) == "crimson squares"


def test_a_note_is_set_aside_while_the_run_has_another_extractor(saeviz_command, finished_run, directory):
    feature = noted(opened(directory))
    run = saeviz.run(finished_run, settings=("extractor.n_features=40",))
    assert feature not in run.notes
    assert run.notes.earlier[feature].label == "crimson squares"
    assert run.name(feature) == (run.labels[feature].label if feature in run.labels else "")
    shown = saeviz_command("show", str(feature), "--run", directory).out
    told = " ".join(shown.split())  # lines are as wide as the terminal
    assert "of an earlier extractor, in which this was another feature: crimson squares; wrong;" in told
    assert saeviz_command("notes", directory).out.splitlines()[:2] == [
        f"{feature}  crimson squares  [wrong]",
        "  of an earlier extractor, in which this number was of another feature",
    ]
    page = saeviz.component("reporter", "html").write(run)
    (data,) = (path.read_text() for path in page.parent.rglob("data/notes.js"))
    assert f'{{"earlier":{{"{feature}"' in data
    run = saeviz.run(finished_run)
    assert run.name(feature) == "crimson squares"
    assert not run.notes.earlier


def test_a_note_lets_reports_be_written_again(finished_run, directory):
    before = opened(directory).manifest["stages"]["report"]
    noted(opened(directory))
    after = saeviz.run(finished_run).manifest["stages"]["report"]
    assert before["digest"] != after["digest"]


def test_both_labels_are_shown(saeviz_command, directory):
    run = opened(directory)
    feature = noted(run)
    machine = run.labels[feature].label
    shown = saeviz_command("show", str(feature), "--run", directory)
    assert f"{feature}  crimson squares\n  by hand; the labeler's label: {machine}\n" in shown.out
    assert "  mark: wrong\n" in shown.out
    assert "  note: not <only> red\n" in shown.out
    found = saeviz_command("show", str(feature), "--run", directory, "--json").json()
    assert found["label"] == machine
    assert found["note"]["label"] == "crimson squares"
    html = run.feature(feature)._repr_html_()
    assert "crimson squares" in html
    assert machine in html
    assert "not &lt;only&gt; red" in html
    assert "crimson squares" in run.table([feature])._repr_html_()


def test_all_notes_of_a_run_are_listed(saeviz_command, directory):
    empty = saeviz_command("notes", directory)
    assert (empty.code, empty.out) == (0, "")
    assert "nothing is noted about the features of" in empty.err
    assert saeviz_command("notes", directory, "--json").json() == []
    run = opened(directory)
    second, first = sorted(run.labels)[:2][::-1]
    run.notes.write(second, label="crimson squares", description="Squares.", mark="wrong", text="not\nred\x1b[2J")
    run.notes.write(first, mark="done")
    machine = {feature: run.labels[feature].label for feature in (first, second)}
    assert saeviz_command("notes", directory).out.splitlines() == [
        f"{first}  {machine[first]}  [done]",
        f"{second}  crimson squares  [wrong]",
        f"  by hand; the labeler's label: {machine[second]}",
        "  description by hand: Squares.",
        "  note: not",
        "    red",
    ]
    listed = saeviz_command("notes", directory, "--json").json()
    assert [one["feature"] for one in listed] == [str(first), str(second)]
    assert listed[1]["labelers_label"] == machine[second]
    assert listed[1]["label"] == "crimson squares"


def test_a_note_on_a_feature_that_is_no_longer_there_is_kept_and_harms_nothing(directory):
    gone = Feature.parse("layer40.cls/9")
    NotesFile(directory / "notes.jsonl").write(gone, {"label": "lost words"})
    run = opened(directory)
    assert run.notes[gone].label == run.name(gone) == "lost words"
    assert saeviz.compare(run, opened(directory)).kind == "relations"
    page = saeviz.component("reporter", "html").write(run)
    assert "lost words" not in "".join(path.read_text() for path in page.parent.rglob("*.js"))


def test_a_note_is_a_value():
    assert Note().is_empty
    assert not Note(text="x").is_empty
