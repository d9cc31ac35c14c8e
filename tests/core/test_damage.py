"""Every file of a finished run, damaged in every way: right values or a sentence, and never "up to date"."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.formats.embeddings import EmbeddingFiles
from tests.conftest import FAKE_RUN, FAKES

FILES = {
    "run.json": None,
    "items.parquet": "extract",
    "features/layer_1/cls/index.jsonl": None,
    "features/layer_1/cls/batch_*.npz": None,
    "embeddings/000000.npz": "embed",
    "scores.parquet": "score",
    "correlations.parquet": "score",
    "top_images.parquet": "score",
    "images.parquet": "score",
    "selected.csv": "select",
    "labels.jsonl": "label",
    "judgements.jsonl": "judge",
    "judgements.parquet": "judge",
    "label_scores.jsonl": "judge-ratings",
    "label_ratings.parquet": "judge-ratings",
    "reporter*/**/report.txt": "report",
}
"""The files, and for those that the manifest knows the stage that makes them."""
RUN = (
    FAKE_RUN.replace("n = 24", "n = 48").replace('use = "fake-extractor"', 'use = "fake-extractor"\nbatch_size = 16')
    + '[run]\ndir = "run"\njudge_images = 10\nrating_images = 10\n[judge]\nuse = "fake-labeler"\n'
).replace('use = "pearson-bh"', 'use = "pearson-bh"\nsplit = 0.5') + "[selector]\nlimit = 6\n"


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "empty": lambda _data, _other: b"",
    "half": lambda data, _other: data[: len(data) // 2],
    "flipped": lambda data, _other: flip(data),
    "random": lambda data, _other: np.random.default_rng(0).bytes(len(data)),
    "of-another-run": lambda _data, other: other,
    "deep": lambda _data, _other: b"[" * 100_000 + b"\n",
    "missing": None,
    "folder": None,
}


KINDS = [kind if kind == "flipped" else pytest.param(kind, marks=pytest.mark.slow) for kind in DAMAGES]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and another one over other images."""
    root = tmp_path_factory.mktemp("finished")
    (root / "run.toml").write_text(RUN)
    saeviz.run(root / "run.toml", settings=[f"run.dir={root / 'one'}"])
    saeviz.run(root / "run.toml", settings=[f"run.dir={root / 'other'}", "images.n=47", "extractor.layers=[1]"])
    return root


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    (tmp_path / "run.toml").write_text(RUN)
    shutil.copytree(finished / "one", tmp_path / "run")
    return tmp_path / "run"


def damage(path: Path, kind: str, other: Path) -> None:
    made = DAMAGES[kind]
    if made is not None:
        path.write_bytes(made(path.read_bytes(), other.read_bytes()))
        return
    path.unlink()
    if kind == "folder":
        path.mkdir()


def contents(run: saeviz.Run) -> dict[str, object]:
    """What can be read of a run, as far as it does not change from one run to the next."""
    tables = ("scores", "correlations", "judgements", "label_ratings", "images_table")
    found = {name: getattr(run, name).to_csv() for name in tables}
    found |= {str(space): run.features(space).matrix.toarray().tolist() for space in run.spaces}
    found |= {
        "ids": [item.item_id for item in run.items],
        "selected": run.selected,
        "labels": dict(run.labels),
        "top": [[(image.item.item_id, image.activation) for image in run.top_images(f)] for f in run.labels],
        "failures": run.failures,
    }
    return found


@pytest.fixture(scope="module")
def whole(finished):
    """What is in the finished run."""
    return contents(saeviz.open_run(finished / "one", plugins=[FAKES]))


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What is said of the finished run, once it has been asked for."""
    return {}


@pytest.fixture
def shown_whole(said, finished, whole, copied, saeviz_command):
    """What `saeviz show` prints of a feature of a copy of the finished run."""
    if not said:
        said["show"] = saeviz_command("show", str(next(iter(whole["labels"]))), "--run", finished / "one", "--json").out
    return said["show"].replace(str(finished / "one"), str(copied))


@pytest.mark.slow
def test_the_files_are_all_that_a_run_has(finished):
    """A file that is new has to be damaged here, too."""
    found = {path.relative_to(finished / "one").as_posix() for path in (finished / "one").rglob("*") if path.is_file()}
    left = {name for name in found if not name.startswith((".lock", "log.txt", "features/.", "features/layer_2"))}
    assert left == {
        next((finished / "one").glob(pattern)).relative_to(finished / "one").as_posix() for pattern in FILES
    }


def is_named(stage, path, run, said):
    """Whether a message of the stage names the file, or the folder that it is a part of."""
    return any(
        f"{stage}: {name} {verb} " in said
        for name in (path.relative_to(run), path.parent.name)
        for verb in ("was", "is")
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_damage_is_never_silent(finished, whole, shown_whole, copied, saeviz_command, name, kind):
    feature = next(iter(whole["labels"]))
    path = next(copied.glob(name))
    damage(path, kind, next((finished / "other").glob(name)))

    shown = saeviz_command("show", str(feature), "--run", copied, "--json")
    assert (shown.code, shown.out) == (0, shown_whole) or is_a_sentence(shown)
    assert contents_or_sentence(copied) in (whole, "a sentence")

    again = saeviz_command("run", copied.parent / "run.toml")
    stage = FILES[name]
    if stage is not None and kind != "folder":
        assert again.code == 0, again
        assert is_named(stage, path, copied, again.err)
        assert f"{stage}: up to date" not in again.err
    if again.code == 0:
        assert contents(saeviz.open_run(copied, plugins=[FAKES])) == whole
        items = saeviz.open_run(copied, plugins=[FAKES]).items
        vectors, expected = (EmbeddingFiles(run / "embeddings").read(items) for run in (copied, finished / "one"))
        assert np.array_equal(vectors, expected)
        assert saeviz_command("run", copied.parent / "run.toml").err.count("up to date") == 8
    else:
        assert is_a_sentence(again)


def contents_or_sentence(directory: Path) -> dict[str, object] | str:
    try:
        return contents(saeviz.open_run(directory, plugins=[FAKES]))
    except saeviz.SaevizError:
        return "a sentence"


def is_a_sentence(outcome) -> bool:
    message = [line for line in outcome.err.splitlines() if not line.startswith(" ")][-1]
    return outcome.code in (1, 2, 3) and message.startswith("saeviz: ")


def forget(directory: Path, *names: str, stages: tuple[str, ...] = ()) -> None:
    """Take these out of the records of stages, of all unless some are named."""
    path = directory / "run.json"
    manifest = json.loads(path.read_text())
    for stage, record in manifest["stages"].items():
        for name in names if stage in stages or not stages else ():
            record.pop(name, None)
    path.write_text(json.dumps(manifest))


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [b"", b"PK", None])
def test_a_damaged_embeddings_file_of_an_interrupted_run_is_removed(finished, copied, saeviz_command, damaged):
    forget(copied, "sha256", "finished", stages=("embed",))
    path = copied / "embeddings" / "000000.npz"
    path.write_bytes(path.read_bytes()[:-200] if damaged is None else damaged)
    again = saeviz_command("run", copied.parent / "run.toml")
    assert again.code == 0
    assert "000000.npz is damaged: it is removed, and its images are embedded again" in again.err
    whole = saeviz.open_run(finished / "one", plugins=[FAKES])
    vectors, expected = (EmbeddingFiles(run / "embeddings").read(whole.items) for run in (copied, whole.dir))
    assert np.array_equal(vectors, expected)


def test_a_crash_between_a_file_and_the_manifest_is_no_refusal(finished, whole, copied, saeviz_command):
    forget(copied, "sha256", "finished", stages=("score",))
    (copied / "scores.parquet").write_bytes((finished / "other" / "scores.parquet").read_bytes())
    assert len(saeviz.open_run(copied).scores) > 0
    assert saeviz_command("run", copied.parent / "run.toml").code == 0
    assert contents(saeviz.open_run(copied, plugins=[FAKES])) == whole


def test_a_stage_at_work_has_no_digests(copied, monkeypatch):
    from saeviz.pipeline.stages.score import Score

    def failing(self, session):
        assert "sha256" not in session.rundir.read_manifest()["stages"]["score"]
        raise saeviz.DataError("the power is off")

    monkeypatch.setattr(Score, "run", failing)
    (copied / "top_images.parquet").unlink()
    with pytest.raises(saeviz.DataError, match="the power is off"):
        saeviz.run(copied.parent / "run.toml")
    assert len(saeviz.open_run(copied).scores) > 0


def test_runs_of_earlier_versions_have_no_digests(copied, saeviz_command):
    forget(copied, "sha256")
    for name in ("labels.jsonl", "judgements.jsonl"):
        rows = [json.loads(line) for line in (copied / name).read_text().splitlines()]
        (copied / name).write_text("".join(f"{json.dumps({**row, 'check': None})}\n" for row in rows))
    assert saeviz.open_run(copied).labels
    assert saeviz_command("run", copied.parent / "run.toml", "--until", "label").err.count("up to date") == 5


def test_digests_of_a_stranger_name_no_file_outside(copied, saeviz_command):
    mine = copied.parent / "mine.txt"
    mine.write_text("precious")
    manifest = json.loads((copied / "run.json").read_text())
    for name in ("../mine.txt", str(mine), ".", "", "embeddings/../../mine.txt"):
        manifest["stages"]["score"].setdefault("sha256", {})[name] = "0" * 64
    (copied / "run.json").write_text(json.dumps(manifest))
    assert saeviz_command("run", copied.parent / "run.toml").code == 0
    assert mine.read_text() == "precious"


def test_whole_labels_are_not_asked_for_again(copied, saeviz_command):
    lines = (copied / "labels.jsonl").read_bytes().splitlines(keepends=True)
    lines[0], lines[1] = flip(lines[0]), b"\xff\xfe\n"
    (copied / "labels.jsonl").write_bytes(b"".join(lines))
    again = saeviz_command("run", copied.parent / "run.toml")
    assert "label: 2 lines of" in again.err
    assert f"label: 2 of {len(lines)} features to name" in again.err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["empty", "half", "flipped", "random", "deep"])
def test_damaged_failures(copied, saeviz_command, kind):
    run = copied.parent / "run.toml"
    assert saeviz_command("run", run, "--set", "images.broken=2").code == 4
    path = copied / "failures.jsonl"
    before = path.read_bytes()
    path.write_bytes(DAMAGES[kind](before, b""))
    again = saeviz_command("run", run, "--set", "images.broken=2")
    assert again.code == 4, again
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'"extract"', b'"score"'))
    assert saeviz_command("run", run, "--set", "images.broken=2").code == 4
    assert path.read_bytes() == before


def test_a_file_that_the_run_wrote_again_is_not_called_damaged(copied, caplog):
    with caplog.at_level(logging.WARNING):
        again = saeviz.run(copied.parent / "run.toml", settings=["scorers.1.errors=hc2"])
    assert again.dir == copied
    assert "was changed or damaged" not in caplog.text
