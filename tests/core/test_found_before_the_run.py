"""What `saeviz check` and the start of a run say of images and ratings, and that a failed start leaves nothing."""

from __future__ import annotations

import csv

import pytest

import saeviz
from saeviz import ImageItem
from saeviz.pipeline.run import Plan
from saeviz_correlation.options import ModerationOptions, PartialOptions
from tests.conftest import WITHOUT_MODELS, Outcome
from tests.hostile_server import picture


def items_with(**cells):
    """130 images with the metadata that functions of their number give."""
    rows = range(130)
    return [
        ImageItem(str(n), b"", ratings={"liking": float(n)}, metadata={name: str(of(n)) for name, of in cells.items()})
        for n in rows
    ]


@pytest.fixture
def table(tmp_path):
    """Writes a run over twelve pictures with a rating that never varies and one group."""
    (tmp_path / "pictures").mkdir()
    with (tmp_path / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "liking", "flat", "series"])
        for number in range(12):
            (tmp_path / "pictures" / f"{number}.png").write_bytes(picture("red"))
            writer.writerow([f"{number}.png", number, 3, "sea"])
    path = tmp_path / "art.toml"
    path.write_text(
        '[images]\npath = "pictures"\nratings = "ratings.csv"\nrating_columns = ["liking", "flat"]\n'
        'group_column = "series"\n[[scorers]]\nuse = "pearson-bh"\n'
    )
    return path


def test_a_rating_that_never_varies_and_a_single_group_are_said(table, saeviz_command):
    ended: Outcome = saeviz_command("check", table, *WITHOUT_MODELS)
    assert ended.code == 0
    assert "images: all have the same value of 'flat', 3, so nothing can be related to it" in ended.err
    assert "'liking', " not in ended.err
    assert "images: all belong to the group 'sea', so they count as a single observation" in ended.err


def test_a_category_of_too_many_values_is_refused(saeviz_command):
    items = items_with(painter=lambda n: f"painter {n}", year=lambda n: 1800 + n, school=lambda n: f"school {n % 30}")
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.1\.control: 'painter' has 130 different values"):
        PartialOptions(control=["painter"]).check_images("scorers.1", items)
    with pytest.raises(saeviz.ConfigError, match="'year' has 130 different values"):
        PartialOptions(control=["category:year"]).check_images("scorers.1", items)
    with pytest.raises(saeviz.ConfigError, match="'liking' has 130 different values"):
        PartialOptions(control=["category:liking"]).check_images("scorers.1", items)
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.1\.moderators: 'painter' has 130"):
        ModerationOptions(moderators=["painter"]).check_images("scorers.1", items)
    with pytest.raises(saeviz.ConfigError, match="31 columns of 'school' and control"):
        ModerationOptions(moderators=["school"], control=["year"]).check_images("scorers.1", items)
    PartialOptions(control=["year", "school", "l0.layer1.cls"]).check_images("scorers.1", items)
    ModerationOptions(moderators=["year"], control=["l0.layer1.cls"]).check_images("scorers.1", items)


def test_such_a_category_is_found_before_anything_is_extracted(table, saeviz_command):
    settings = 'scorers=[{use = "partial", control = ["category:number"]}]'
    lines = table.with_name("ratings.csv").read_text().splitlines()
    rows = [f"{lines[0]},number", *(f"{n}.png,{n},3,sea,{n}" for n in range(12))]
    table.with_name("ratings.csv").write_text("\n".join(rows))
    assert saeviz_command("check", table, *WITHOUT_MODELS, "--set", settings).code == 0
    for n in range(12, 102):
        (table.with_name("pictures") / f"{n}.png").write_bytes(picture("red"))
        rows.append(f"{n}.png,{n},3,sea,{n}")
    table.with_name("ratings.csv").write_text("\n".join(rows))
    ended: Outcome = saeviz_command("check", table, *WITHOUT_MODELS, "--set", settings)
    assert ended.code == saeviz.ExitCode.USAGE
    assert "scorers.0.control: 'number' has 102 different values" in ended.err


@pytest.mark.parametrize("setting", ['scorers=[{use = "pearson-bh", ratings = ["x"]}]', "images.n=0"])
def test_a_start_that_fails_leaves_no_run_directory(fake_run, setting):
    with pytest.raises(saeviz.SaevizError):
        saeviz.run(fake_run, settings=[setting])
    assert not (fake_run.parent / "runs" / "fake").exists()


def test_it_leaves_a_run_of_before_as_it_is(fake_run):
    run = saeviz.run(fake_run, plan=Plan(last="extract"))
    with pytest.raises(saeviz.ConfigError):
        saeviz.run(fake_run, settings=['scorers=[{use = "pearson-bh", ratings = ["x"]}]'])
    assert list(saeviz.open_run(run.dir).manifest["stages"]) == ["extract"]
    assert "extract: 24 of 24 images to do" in (run.dir / "log.txt").read_text()
