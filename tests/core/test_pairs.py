"""The table `pairs`: every pair of a feature and a rating, in files of some ratings each."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import saeviz
from saeviz.formats.damage import digest_of_file

PLUGIN = """
import numpy as np
import saeviz

class Sums:
    def __init__(self, options, context):
        pass

    def score(self, data):
        n = data.space.n_features
        for place, name in enumerate(data.ratings):
            r = np.arange(n, dtype=np.float32)[None] / 100 + place
            r[0, 3] = np.nan
            {yields}

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(name="sums", summary="numbers of pairs", factory=Sums, options=saeviz.Options)
"""
GOOD = 'yield saeviz.PairBlock("sums", data.space, (name,), {"r": r, "p": np.where(np.isnan(r), np.nan, 1e-300)})'


@pytest.fixture
def run_with(fake_run):
    """A run with a scorer whose every rating yields this."""

    def run(yields=GOOD, scorers="{use='sums'}"):
        plugin = fake_run.parent / "sums.py"
        plugin.write_text(PLUGIN.replace("{yields}", yields))
        return saeviz.run(
            fake_run,
            settings=[f"scorers=[{scorers}]"],
            plugins=[plugin, "module:saeviz.testing.fakes"],
            plan=saeviz.Plan(last="score"),
        )

    return run


def files(run: saeviz.Run) -> list[Path]:
    return sorted(path for path in (run.dir / "pairs").rglob("*") if path.is_file())


def test_pairs_of_a_rating_a_feature_or_both(run_with):
    run = run_with()
    n = run.spaces[0].n_features
    found = run.pairs("noise")
    assert list(found) == ["scorer", "sae", "layer", "tokens", "feature", "rating", "r", "p"]
    assert len(found) == 2 * (n - 1), "a pair without numbers has no row"
    assert set(found["rating"]) == {"noise"}
    place = run.ratings.index("noise")
    one = run.pairs("noise", "layer2.cls/5")
    assert one.iloc[0].to_dict() == {
        "scorer": "sums",
        "sae": "",
        "layer": 2,
        "tokens": "cls",
        "feature": 5,
        "rating": "noise",
        "r": pytest.approx(0.05 + place),
        "p": 1e-300,
    }
    of_feature = run.pairs(feature=saeviz.Feature(1, "cls", 7))
    assert of_feature["rating"].tolist() == run.ratings
    assert set(of_feature["layer"]) == {1}
    assert len(run.pairs("noise", "layer1.cls/3")) == 0
    for wrong in ({}, {"rating": "unheard of"}, {"feature": "layer1.cls/9999"}):
        with pytest.raises(saeviz.ConfigError):
            run.pairs(**wrong)


def test_the_folder_is_one_table_for_other_programs(run_with):
    run = run_with()
    whole = pd.read_parquet(run.dir / "pairs")
    assert len(whole) == sum(len(run.pairs(name)) for name in run.ratings)
    assert set(whole["space"]) == {"layer1.cls", "layer2.cls"}
    assert set(whole["scorer"]) == {"sums"}
    here = pd.read_parquet(run.dir / "pairs", filters=[("rating", "==", "noise"), ("space", "==", "layer2.cls")])
    own = run.pairs("noise")
    np.testing.assert_array_equal(here["r"], own[own["layer"] == 2]["r"])
    assert here["r"].dtype == np.float32
    assert here["p"].dtype == np.float64


def test_two_scorers_of_a_kind_stay_apart_by_name(run_with):
    run = run_with(scorers="{use='sums'}, {use='sums', name='mine'}")
    assert set(run.pairs("noise")["scorer"]) == {"sums", "mine_sums"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("yields", "message"),
    [
        (f"{GOOD}; {GOOD}", "more than once"),
        (GOOD.replace('"p"', 'f"p{place}"'), "not those of the pairs before"),
        (GOOD.replace("(name,)", '("other",)'), "'other', which is not a rating of this run"),
        (GOOD.replace("(name,)", "()"), "each once"),
        (GOOD.replace('"sums"', '"../sums"'), "it is a folder's"),
        (GOOD.replace('"r": r', '"rating": r'), "other than"),
        (GOOD.replace('"r": r', '"r": r[:, 1:]'), "not float"),
        (GOOD.replace("1e-300", "np.inf"), "infinite values"),
    ],
)
def test_mistakes_of_a_scorer_are_named_and_leave_the_files_as_they_are(run_with, yields, message):
    run = run_with()
    before = [path.read_bytes() for path in files(run)]
    with pytest.raises(saeviz.SaevizError, match=message):
        run_with(yields)
    assert [path.read_bytes() for path in files(run)] == before
    assert not list(run.dir.glob(".saeviz-*"))


def test_a_full_disk_is_a_sentence_and_leaves_the_files_as_they_are(run_with, monkeypatch):
    run = run_with()
    before = [path.read_bytes() for path in files(run)]

    def fail(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(saeviz.RunDirError, match=r"part-00000\.parquet cannot be written: .*free some space"):
        run_with(GOOD + " ")
    assert [path.read_bytes() for path in files(run)] == before
    assert not list(run.dir.glob(".saeviz-*"))


KILLED = """
import os, signal, sys
from pathlib import Path
import pandas, pyarrow.parquet, scipy.sparse, tqdm, filelock  # once, for all the processes that are forked and killed
import saeviz
import saeviz.testing.fakes

folder = Path(sys.argv[1])
os.fsync = lambda descriptor: None  # only a machine that goes down needs it

def run(plugin, number):
    plugins = [folder / plugin, "module:saeviz.testing.fakes"]
    settings = ["scorers=[{use='sums'}]", f"run.dir={folder / str(number)}"]
    saeviz.run(folder / "fake.toml", settings=settings, plugins=plugins, plan=saeviz.Plan(last="score"))

for number in range(1, 30):
    process = os.fork()
    if not process:
        seen = []
        def watch(event, _given):
            if event == "os.rename":
                seen.append(event)
                if len(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        try:
            run("old.py", number)
            sys.addaudithook(watch)
            run("new.py", number)
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitpid(process, 0)[1]
    if ended != signal.SIGKILL:
        sys.exit(ended)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_at_any_rename_there_are_old_files_new_ones_or_none(fake_run):
    """None only between the two renames that exchange the folders; the same run then makes them all."""
    folder = fake_run.parent
    for name, p in (("old", "0.5"), ("new", "1e-300")):
        (folder / f"{name}.py").write_text(PLUGIN.replace("{yields}", GOOD.replace("1e-300", p)))
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    numbers = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    found = [
        sorted({value for path in (folder / str(number)).glob("pairs/*/*/*") for value in pd.read_parquet(path)["p"]})
        for number in numbers
    ]
    order = [[0.5], [], [1e-300]]
    assert [order.index(one) for one in found] == sorted(order.index(one) for one in found), "never a mixture"
    assert found.count([]) == 1
    assert {0.5, 1e-300} == {value for one in found for value in one}
    for number in (found.index([]), 0):
        run = saeviz.run(
            fake_run,
            settings=["scorers=[{use='sums'}]", f"run.dir={folder / str(numbers[number])}"],
            plugins=[folder / "new.py", "module:saeviz.testing.fakes"],
            plan=saeviz.Plan(last="score"),
        )
        assert set(run.pairs("noise")["p"]) == {1e-300}
        assert not list(run.dir.glob(".saeviz-*"))


def test_files_of_an_earlier_run_are_removed(run_with):
    run = run_with()
    assert files(run)
    run = run_with("yield from ()")
    assert not (run.dir / "pairs").exists()
    with pytest.raises(saeviz.RunDirError, match=r"pairs does not exist: .*all_pairs = true"):
        run.pairs("noise")


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "missing", "of another"])
def test_damage_is_a_sentence_and_mended(run_with, damage):
    run = run_with()
    expected = run.pairs("noise")
    paths = [path for path in files(run) if path.name == f"part-{run.ratings.index('noise'):05}.parquet"]
    assert len(paths) == 2
    path = paths[0]
    data = path.read_bytes()
    if damage == "flipped":
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(paths[1].read_bytes())
    with pytest.raises(saeviz.RunDirError, match=rf"{path.name} (was changed|is missing)"):
        saeviz.open_run(run.dir).pairs("noise")
    pd.testing.assert_frame_equal(run_with().pairs("noise"), expected)


def test_a_received_file_of_another_kind_is_a_sentence(run_with):
    run = run_with()
    path = files(run)[0]
    manifest = json.loads((run.dir / "run.json").read_text())
    known = manifest["stages"]["score"]["sha256"]
    del known[path.relative_to(run.dir).as_posix()]
    known.update({"pairs/../../scorer=x/space=y/part-0.parquet": "0" * 64})
    table = pq.read_table(path)
    for wrong, message in (
        (table.drop_columns(["rating"]), "no column|rating"),
        (table.set_column(5, "r", pa.array(["x"] * len(table))), "'r' has no numbers"),
        (table.set_column(3, "feature", pa.array(["x"] * len(table))), "no whole numbers in its column 'feature'"),
    ):
        pq.write_table(wrong, path)
        known[path.relative_to(run.dir).as_posix()] = digest_of_file(path)
        (run.dir / "run.json").write_text(json.dumps(manifest))
        with pytest.raises(saeviz.RunDirError, match=message):
            saeviz.open_run(run.dir).pairs(run.ratings[0])
