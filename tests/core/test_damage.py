"""Every file of a finished run, damaged in every way: right values or a sentence, and never "up to date"."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.embeddings import EmbeddingFiles
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
    "selected.csv": "select",
    "labels.jsonl": "label",
    "judgements.jsonl": "judge",
    "judgements.parquet": "judge",
    "reporter*/**/report.txt": "report",
}
"""The files, and for those that the manifest knows the stage that makes them."""
RUN = FAKE_RUN.replace("n = 24", "n = 48") + '[run]\ndir = "run"\njudge_images = 10\n[judge]\nuse = "fake-labeler"\n'


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
    found = {name: getattr(run, name).to_csv() for name in ("scores", "correlations", "judgements")}
    found |= {str(space): run.features(space).matrix.toarray().tolist() for space in run.spaces}
    found |= {
        "ids": [item.item_id for item in run.items],
        "selected": run.selected,
        "labels": dict(run.labels),
        "top": [[(image.item.item_id, image.activation) for image in run.top_images(f)] for f in run.labels],
        "failures": run.failures,
    }
    return found


def test_the_files_are_all_that_a_run_has(finished):
    """A file that is new has to be damaged here, too."""
    found = {path.relative_to(finished / "one").as_posix() for path in (finished / "one").rglob("*") if path.is_file()}
    left = {name for name in found if not name.startswith((".lock", "log.txt", "features/.", "features/layer_2"))}
    assert left == {
        next((finished / "one").glob(pattern)).relative_to(finished / "one").as_posix() for pattern in FILES
    }


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_is_never_silent(finished, copied, saeviz_command, name, kind):
    whole = saeviz.open_run(finished / "one", plugins=[FAKES])
    feature = next(iter(whole.labels))
    before = saeviz_command("show", str(feature), "--run", copied, "--json").out
    path = next(copied.glob(name))
    damage(path, kind, next((finished / "other").glob(name)))

    shown = saeviz_command("show", str(feature), "--run", copied, "--json")
    assert (shown.code, shown.out) == (0, before) or is_a_sentence(shown)
    assert contents_or_sentence(copied) in (contents(whole), "a sentence")

    again = saeviz_command("run", copied.parent / "run.toml")
    stage = FILES[name]
    if stage is not None and kind != "folder":
        assert again.code == 0, again
        assert f"{stage}: {path.relative_to(copied)} is" in again.err or f"{stage}: {path.parent.name} is" in again.err
        assert f"{stage}: up to date" not in again.err
    if again.code == 0:
        assert contents(saeviz.open_run(copied, plugins=[FAKES])) == contents(whole)
        vectors, expected = (EmbeddingFiles(run / "embeddings").read(whole.items) for run in (copied, whole.dir))
        assert np.array_equal(vectors, expected)
        assert saeviz_command("run", copied.parent / "run.toml").err.count("up to date") == 7
    else:
        assert is_a_sentence(again)


def contents_or_sentence(directory: Path) -> dict[str, object] | str:
    try:
        return contents(saeviz.open_run(directory, plugins=[FAKES]))
    except saeviz.SaevizError:
        return "a sentence"


def is_a_sentence(outcome) -> bool:
    return outcome.code in (1, 2, 3) and outcome.err.strip().splitlines()[-1].startswith("saeviz: ")
