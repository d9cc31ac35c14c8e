"""Numbers that an extractor hands over of each image: in `images.parquet`, whatever happened on the way."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.pipeline.run import Plan

WITH = "extractor.reconstruction_error=true"
NAMES = ["reconstruction_error.layer1.cls", "reconstruction_error.layer2.cls"]
EXTRACT = Plan(last="extract")
SPACE = saeviz.FeatureSpace(1, "cls", 8)


def errors(run):
    return run.images_table[NAMES]


def expected(run):
    features = {f"reconstruction_error.{space}": run.features(space) for space in run.spaces}
    return pd.DataFrame(
        {
            name: dict(zip(batch.item_ids, (1 - batch.matrix.toarray()[:, :6].mean(axis=1)).astype(float), strict=True))
            for name, batch in features.items()
        }
    )


def written(run):
    """What the ledger has, with the number of lines."""
    lines = [json.loads(line) for line in (run.dir / "of_images.jsonl").read_text().splitlines()]
    return [item_id for line in lines for item_id in line["items"]]


def test_they_are_columns_of_their_spaces(fake_run):
    run = saeviz.run(fake_run, settings=[WITH])
    assert list(run.images_table) == ["l0.layer1.cls", "l0.layer2.cls", *NAMES]
    pd.testing.assert_frame_equal(errors(run), expected(run), check_names=False, rtol=1e-6)


@pytest.mark.slow
def test_without_any_there_is_no_column(fake_run):
    run = saeviz.run(fake_run)
    assert not [name for name in run.images_table if "error" in name]
    assert not (run.dir / "of_images.jsonl").exists()


@pytest.mark.slow
def test_named_extractors_have_their_name_in_front(fake_run):
    text = fake_run.read_text().replace('[extractor]\nuse = "fake-extractor"', "")
    fake_run.write_text(
        text
        + '[[extractors]]\nname = "a"\nuse = "fake-extractor"\nreconstruction_error = true\n'
        + '[[extractors]]\nname = "b"\nuse = "fake-extractor"\n'
    )
    run = saeviz.run(fake_run)
    found = [name for name in run.images_table if "error" in name]
    assert found == ["reconstruction_error.a.layer1.cls", "reconstruction_error.a.layer2.cls"]


@pytest.mark.slow
def test_images_that_come_later_are_added(fake_run):
    saeviz.run(fake_run, settings=[WITH, "images.n=10"])
    run = saeviz.run(fake_run, settings=[WITH])
    assert len(run.images_table) == 24
    pd.testing.assert_frame_equal(errors(run), expected(run), check_names=False, rtol=1e-6)


@pytest.mark.slow
def test_fewer_images_for_once_lose_nothing(fake_run, caplog):
    saeviz.run(fake_run, settings=[WITH])
    saeviz.run(fake_run, settings=[WITH], limit=12)
    caplog.clear()
    run = saeviz.run(fake_run, settings=[WITH])
    assert "images to do" not in caplog.text
    pd.testing.assert_frame_equal(errors(run), expected(run), check_names=False, rtol=1e-6)


@pytest.mark.slow
def test_they_come_from_the_cache_with_the_features(fake_run):
    first = saeviz.run(fake_run, settings=[WITH, "run.cache=true"])
    second = saeviz.run(fake_run, settings=[WITH, "run.cache=true", f"run.dir={fake_run.parent / 'other'}"])
    assert "from another run" in (second.dir / "log.txt").read_text()
    pd.testing.assert_frame_equal(errors(second), errors(first))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["removed", "a line", "the last line cut off"])
def test_a_damaged_file_is_completed_and_nothing_is_in_it_twice(fake_run, damage):
    run = saeviz.run(fake_run, settings=[WITH])
    whole, ledger = errors(run), run.dir / "of_images.jsonl"
    text = ledger.read_text()
    {
        "removed": ledger.unlink,
        "a line": lambda: ledger.write_text(text.replace("0.", "1.", 1)),
        "the last line cut off": lambda: ledger.write_text(text[:-30]),
    }[damage]()
    again = saeviz.run(fake_run, settings=[WITH])
    pd.testing.assert_frame_equal(errors(again), whole)
    assert ledger.read_text() == text


@pytest.mark.slow
def test_a_run_killed_between_numbers_and_features_has_each_once(fake_run, monkeypatch):
    from saeviz_npz.store import NpzStore

    whole = errors(saeviz.run(fake_run, settings=[WITH, f"run.dir={fake_run.parent / 'whole'}"]))
    write, batches = NpzStore.write, []

    def killed(store, batch):
        batches.append(batch)
        if len(batches) == 4:
            raise KeyboardInterrupt
        write(store, batch)

    monkeypatch.setattr(NpzStore, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        saeviz.run(fake_run, settings=[WITH], plan=EXTRACT)
    monkeypatch.setattr(NpzStore, "write", write)
    run = saeviz.run(fake_run, settings=[WITH])
    pd.testing.assert_frame_equal(errors(run), whole)
    assert sorted(written(run)) == sorted(set(written(run))) == sorted(whole.index)


@pytest.mark.parametrize(
    ("of_images", "message"),
    [
        ({"Error": [1, 2]}, "cannot be called 'Error'"),
        ({"a.b": [1, 2]}, "cannot be called"),
        ({"l0": [1, 2]}, "not l0"),
        ({3: [1, 2]}, "cannot be called 3"),
        ({"error": [1]}, "a batch of 2 images needs"),
        ({"error": [[1], [2]]}, "a batch of 2 images needs"),
        ({"error": ["a", "b"]}, "a batch of 2 images needs"),
        ({"error": [1, math.inf]}, "a finite number for each"),
    ],
)
def test_what_is_no_number_of_each_image_is_refused(of_images, message):
    from scipy.sparse import csr_array

    with pytest.raises(saeviz.DataError, match=message):
        saeviz.FeatureBatch(SPACE, ("a", "b"), csr_array(np.eye(2, 8)), of_images)
