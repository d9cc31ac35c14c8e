"""Images that were removed, or can no longer be read, are left out wherever features are given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.pipeline.run import Plan
from saeviz.testing.fakes import draw_rectangle
from tests.conftest import FAKES


@pytest.fixture
def after(tmp_path, fake_run):
    """A run over five pictures, of which one was removed and one damaged before it ran again."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(["red", "green", "blue", "white", "yellow"]):
        (folder / f"{number}.png").write_bytes(draw_rectangle(colour, np.random.default_rng(0)))
    text = fake_run.read_text().replace("n = 24\n", 'path = "pictures"\n')
    fake_run.write_text(text.replace('use = "fake-images"', 'use = "folder"'))
    plan = Plan(last="extract")
    saeviz.run(fake_run, plan=plan)
    (folder / "1.png").unlink()
    (folder / "3.png").write_bytes(b"no picture any more")
    return saeviz.run(fake_run, plan=plan)


def test_features(after):
    assert [failure.subject for failure in after.failures] == ["3.png"]
    for run in (after, saeviz.open_run(after.dir, plugins=[FAKES])):
        for space in run.spaces:
            batch = run.features(space)
            assert batch.item_ids == ("0.png", "2.png", "4.png")
            assert batch.matrix.shape == (3, space.n_features)
        assert [item.item_id for item in run.items] == ["0.png", "2.png", "4.png"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["npz", "json"])
def test_store_copy(after, saeviz_command, tmp_path, target):
    copied = saeviz_command("store", "copy", after.dir, f"{target}:{tmp_path / 'copy'}", "--plugins", FAKES)
    assert copied.code == 0
    assert "3 items, 3 of them written now" in copied.out
    found = saeviz_command("store", "info", f"{target}:{tmp_path / 'copy'}", "--json").json()
    assert [space["items"] for space in found["spaces"]] == [3, 3]


def test_items_are_in_the_order_of_the_images(after, tmp_path, fake_run):
    for name in ("1.png", "3.png"):
        (tmp_path / "pictures" / name).write_bytes(draw_rectangle("red", np.random.default_rng(1)))
    run = saeviz.run(fake_run, plan=Plan(last="extract"))
    assert run.failures == []
    assert run.features(run.spaces[0]).item_ids == tuple(f"{number}.png" for number in range(5))


@pytest.mark.parametrize("executor", ["local", "fake-executor"])
def test_a_picture_whose_name_is_no_text_is_left_out(fake_run, tmp_path, executor):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "red.png").write_bytes(draw_rectangle("red", np.random.default_rng(0)))
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/pictures/x\xfe.png")).write_bytes(b"no picture")
    except OSError:
        pytest.skip("the file system wants text")
    text = fake_run.read_text().replace("n = 24\n", 'path = "pictures"\n')
    fake_run.write_text(text.replace('use = "fake-images"', 'use = "folder"'))
    run = saeviz.run(fake_run, plan=Plan(last="extract"), settings=[f"executor.use={executor}"])
    (failure,) = run.failures
    assert failure.subject == "x\\xfe.png"
    assert "x\\udcfe.png" in failure.error
