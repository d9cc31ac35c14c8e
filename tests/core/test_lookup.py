"""One feature of a run is looked up without its tables, and is what they say."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.formats.rundir import RunDir
from tests.conftest import FAKES


@pytest.fixture(scope="module", params=["as written", "one group of rows", "shuffled"])
def run(finished_once, tmp_path_factory, request):
    directory = shutil.copytree(finished_once, tmp_path_factory.mktemp("looked up") / "run")
    rundir = RunDir(directory)
    manifest = rundir.read_manifest()
    for record in manifest["stages"].values():
        record.pop("sha256", None)
    rundir.write_manifest(manifest)
    for path in (rundir.scores, rundir.correlations, rundir.top_images):
        table = pd.read_parquet(path)
        if path == rundir.scores:
            table["cluster"] = np.where(table["feature"] % 3 > 0, table["feature"] % 7, np.nan)
        if request.param == "shuffled":
            table = table.sample(frac=1, random_state=1)
        table.to_parquet(path, index=False, row_group_size=7 if request.param == "as written" else None)
    return saeviz.open_run(directory, plugins=[FAKES])


def features(run):
    return [space.feature(index) for space in run.spaces for index in range(space.n_features)]


def own(table, feature):
    mine = (table["layer"] == feature.layer) & (table["tokens"] == feature.tokens) & (table["feature"] == feature.index)
    return table[mine].drop(columns=saeviz.KEYS)


def known(rows: pd.DataFrame) -> list[dict]:
    """Rows with None for no value."""
    return [
        {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
        for row in rows.to_dict("records")
    ]


@pytest.mark.slow
def test_rows_are_those_of_the_tables(run):
    for feature in features(run):
        assert [run.scores_of(feature)] == known(own(run.scores, feature))
        found = sorted(run.correlations_of(feature), key=lambda row: row["rating"])
        assert found == known(own(run.correlations, feature).sort_values("rating"))


@pytest.mark.slow
def test_top_images_are_those_of_the_table_by_rank(run):
    table = pd.read_parquet(run.dir / "top_images.parquet")
    some = 0
    for feature in features(run):
        rows = own(table, feature).sort_values("rank")
        expected = list(zip(rows["item_id"], rows["activation"].tolist(), strict=True))
        assert run.top_item_ids(feature) == expected
        assert [(item.item_id, activation) for item, activation in run.top_images(feature)] == expected
        assert [item.item_id for item, _ in run.top_images(feature, 2)] == [item_id for item_id, _ in expected[:2]]
        assert run.top_item_ids(str(feature), 2) == expected[:2]
        some += bool(expected)
    assert some


@pytest.mark.slow
def test_companions_are_the_others_of_the_cluster_most_active_first(run):
    table = run.scores
    some = 0
    for feature in features(run):
        cluster = own(table, feature)["cluster"].iloc[0]
        members = table[table["cluster"] == cluster].sort_values(
            ["n_active", *saeviz.KEYS], ascending=[False, True, True, True, True]
        )
        expected = [saeviz.Feature(int(row.layer), row.tokens, int(row.feature)) for row in members.itertuples()]
        assert run.companions(feature) == [other for other in expected if other != feature]
        some += len(expected) > 1
    assert some


def test_without_clusters_there_are_no_companions(finished_run):
    run = saeviz.run(finished_run)
    assert "cluster" not in run.scores
    assert run.companions("layer1.cls/0") == []


def test_a_table_that_is_not_there_names_the_stage(finished_run):
    run = saeviz.run(finished_run)
    (run.dir / "scores.parquet").unlink()
    for ask in (run.scores_of, run.companions):
        with pytest.raises(saeviz.RunDirError, match="score"):
            ask("layer1.cls/0")


def test_a_table_that_is_none_is_a_sentence(finished_run):
    run = saeviz.run(finished_run)
    for name in ("scores", "correlations", "top_images"):
        (run.dir / f"{name}.parquet").write_bytes(b"PAR1 this is no table PAR1")
    for ask in (run.scores_of, run.correlations_of, run.top_item_ids, run.top_images, run.companions):
        with pytest.raises(saeviz.RunDirError, match="parquet"):
            ask("layer1.cls/0")
