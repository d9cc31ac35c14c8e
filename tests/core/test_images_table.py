"""`images.parquet`: numbers of every image, from the core and from scorers."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import saeviz

SCORER = """
import numpy as np
import saeviz

class Brightness:
    def __init__(self, options, context):
        self.context = context

    def score(self, data):
        if str(data.space) == "layer1.cls":
            yield saeviz.ImageColumn({name!r}, {values})

class Plugin:
    pass

@saeviz.hookimpl
def saeviz_scorers():
    yield saeviz.ScorerSpec(
        name="brightness", summary="numbers of images", factory=Brightness, options=saeviz.Options
    )
"""


@pytest.fixture
def run_with(fake_run):
    """A run with a scorer of images that gives these values under this name."""

    def run(values, name="brightness", also=""):
        plugin = fake_run.parent / "bright.py"
        plugin.write_text(SCORER.replace("{name!r}", repr(name)).replace("{values}", values))
        settings = [f'scorers=[{{use="pearson-bh"}}, {{use="brightness"{also}}}]']
        return saeviz.run(fake_run, settings=settings, plugins=[plugin, "module:saeviz.testing.fakes"])

    return run


def test_l0_is_how_many_features_are_active_on_an_image(fake_run):
    run = saeviz.run(fake_run)
    assert list(run.images_table) == ["l0.layer1.cls", "l0.layer2.cls"]
    for space in run.spaces:
        batch = run.features(space)
        expected = dict(zip(batch.item_ids, (batch.matrix.toarray() > 0).sum(axis=1).tolist(), strict=True))
        assert run.images_table[f"l0.{space}"].to_dict() == expected


def test_a_scorer_gives_numbers_of_images_with_its_name_in_front(run_with):
    run = run_with("np.where(np.arange(data.n_items) == 1, np.nan, np.arange(data.n_items))", also=', name="mine"')
    found = run.images_table["mine_brightness"]
    assert found.index.tolist() == [item.item_id for item in run.items]
    assert found.isna().tolist() == [number == 1 for number in range(24)]
    assert found.iloc[5] == 5.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        ("np.zeros(3)", "brightness", r"brightness.*'brightness' of 3 images, but there are 24"),
        ("np.full(24, np.inf)", "brightness", "infinite values"),
        ("np.zeros((24, 2))", "brightness", "is not one number for each image"),
        ("np.array(['a'] * 24)", "brightness", "is not one number for each image"),
        ("np.zeros(24)", "", "the name of an ImageColumn is empty"),
        ("np.ma.masked_all(24)", "brightness", "a masked array; write NaN"),
        ("np.zeros(24)); yield saeviz.ImageColumn('brightness', np.ones(24)", "brightness", "called for each space"),
        ("np.zeros(24)", "item_id", "one of this name already"),
        ("np.zeros(24)", "l0.layer1.cls", "one of this name already"),
    ],
)
def test_what_is_no_number_of_each_image_is_refused_by_name(run_with, values, name, message):
    with pytest.raises(saeviz.SaevizError, match=message):
        run_with(values, name)


def test_a_masked_array_without_anything_masked_is_an_array():
    plain, masked = np.ones((1, 2)), np.ma.array([[1.0, 1.0]])
    space = saeviz.FeatureSpace(1, "cls", 2)
    values = saeviz.PairBlock("pairs", space, ("warmth",), {"r": masked}).values["r"]
    found = [values, saeviz.ImageColumn("a", masked[0]).values, saeviz.ScoreColumn("a", space, masked[0]).values]
    assert [type(one) for one in found] == [np.ndarray] * 3
    assert all((one == plain).all() for one in found)
    with pytest.raises(saeviz.DataError, match="r: its values are a masked array; write NaN"):
        saeviz.PairBlock("pairs", space, ("warmth",), {"r": np.ma.masked_equal(plain, 1)})


@pytest.mark.slow
def test_thousands_of_columns_are_read_again(run_with):
    run = run_with(
        "np.zeros(data.n_items)); yield from (saeviz.ImageColumn(f'c{n}', np.full(24, n)) for n in range(2000)"
    )
    assert run.images_table.shape == (24, 2003)
    assert run.images_table["c1999"].iloc[0] == 1999


@pytest.mark.slow
def test_a_received_table_without_numbers_is_a_sentence(fake_run):
    run = saeviz.run(fake_run)
    manifest = json.loads((run.dir / "run.json").read_text())
    del manifest["stages"]["score"]["sha256"]
    (run.dir / "run.json").write_text(json.dumps(manifest))
    for table, message in (
        (pd.DataFrame({"x": [1.0]}), "no column 'item_id'"),
        (pd.DataFrame({"item_id": ["a"], "x": ["b"]}), "'x' has no numbers"),
    ):
        table.to_parquet(run.dir / "images.parquet")
        with pytest.raises(saeviz.RunDirError, match=message):
            _ = saeviz.open_run(run.dir).images_table


@pytest.mark.slow
def test_prediction_says_what_it_predicts_of_each_image_out_of_fold(fake_run):
    scorer = '{use="prediction", folds=3, raw_model=false}'
    run = saeviz.run(
        fake_run, settings=["images.n=48", "images.unrated=4", f'scorers=[{{use="pearson-bh"}}, {scorer}]']
    )
    table, rated = run.images_table, run.ratings_table["warmth"]
    assert table["predicted.warmth"].isna().tolist() == rated.isna().tolist()
    known = rated.notna()
    assert np.allclose((table["predicted.warmth"] + table["residual.warmth"])[known], rated[known])
    # over folds r2 is a mean; pooled over images it is close to it, since folds have nearly the same size
    (figure,) = (
        entry for entry in run.facts["prediction"]["warmth"] if entry["space"] == "all" and entry["method"] == "ridge"
    )
    pooled = 1 - (table["residual.warmth"][known] ** 2).sum() / ((rated[known] - rated[known].mean()) ** 2).sum()
    assert pooled == pytest.approx(figure["r2"], abs=0.1)
