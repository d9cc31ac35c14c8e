"""A run: what is up to date is skipped, what has changed runs again, what fails is listed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz.formats.embeddings import EmbeddingFiles
from saeviz.pipeline.run import Plan
from tests.conftest import FAKES

STAGES = ["extract", "embed", "score", "select", "label", "judge", "report"]


def log_of(run: saeviz.Run) -> list[str]:
    """What the latest run said, by stage."""
    return (run.dir / "log.txt").read_text().splitlines()


def stages_that_ran(run_file: Path, *settings: str, **more) -> list[str]:
    """Those that wrote their part of the manifest anew: what was there before is marked, and such a mark is lost."""
    manifest = run_file.parent / "runs" / "fake" / "run.json"
    if manifest.exists():
        known = json.loads(manifest.read_text())
        known["stages"] = {name: {**record, "was there": True} for name, record in known["stages"].items()}
        manifest.write_text(json.dumps(known))
    stages = saeviz.run(run_file, settings=settings, **more).manifest["stages"]
    return [name for name, record in stages.items() if "finished" in record and "was there" not in record]


def test_a_run_leaves_the_files_of_the_contract(fake_run):
    run = saeviz.run(fake_run)
    names = {path.name for path in run.dir.iterdir() if not path.name.startswith(".")}
    assert {
        "run.json", "features", "embeddings", "scores.parquet", "correlations.parquet", "top_images.parquet",
        "selected.csv", "labels.jsonl", "log.txt",
    } <= names  # fmt: skip
    assert {"layer", "tokens", "feature", "n_active", "max", "mean", "monosemanticity"} <= set(run.scores)
    assert {"layer", "tokens", "feature", "rating", "n", "r", "p", "q", "ci_low", "ci_high"} <= set(run.correlations)
    assert list(run.manifest["stages"]) == STAGES
    assert run.failures == []
    n_features = sum(space.n_features for space in run.spaces)
    assert len(run.scores) == n_features
    assert len(run.correlations) == n_features * len(run.ratings)


@pytest.mark.slow
def test_the_manifest_says_what_the_embeddings_came_from(fake_run, monkeypatch):
    from saeviz.testing.fakes import FakeEmbeddings

    assert "provenance" not in saeviz.run(fake_run).manifest["stages"]["embed"]
    monkeypatch.setattr(FakeEmbeddings, "provenance", {"engine": "abacus 2"}, raising=False)
    run = saeviz.run(fake_run, plan=Plan(redo=("embed",)))
    assert run.manifest["stages"]["embed"]["provenance"] == {"engine": "abacus 2"}


def test_the_tables_agree_with_the_features(finished_run):
    run = saeviz.run(finished_run)
    assert [space.layer for space in run.spaces] == [1, 2]
    for space in run.spaces:
        batch = run.features(space)
        mine = run.scores[(run.scores["layer"] == space.layer) & (run.scores["tokens"] == space.tokens)]
        assert mine["n_active"].tolist() == (batch.matrix > 0).sum(axis=0).tolist()
        dense = batch.matrix.toarray()
        feature = int(dense.max(axis=0).argmax())
        top = run.top_images(space.feature(feature))
        expected = sorted(dense[:, feature][dense[:, feature] > 0], reverse=True)[:20]
        assert [image.activation for image in top] == pytest.approx(expected)
        assert top[0].item.item_id == batch.item_ids[int(dense[:, feature].argmax())]


def test_the_same_run_again_does_nothing(fake_run):
    assert stages_that_ran(fake_run) == STAGES
    assert stages_that_ran(fake_run) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "ran"),
    [
        ("reporters=[]", ["report"]),
        ("labeler.use=metadata-terms", ["label", "judge", "report"]),
        ("selector.limit=3", ["select", "label", "judge", "report"]),
        ("scorers.1.alpha=0.01", ["score", "select", "label", "judge", "report"]),
        ("embeddings.seconds_per_item=0.001", ["embed", "score", "select", "label", "judge", "report"]),
        ("extractor.layers=[1]", STAGES[:1] + STAGES[2:]),
        ("run.device=cpu", []),
    ],
)
def test_a_changed_option_runs_its_stage_and_what_follows(finished_run, setting, ran):
    saeviz.run(finished_run)
    assert stages_that_ran(finished_run, setting) == ran


def test_new_images_are_added_without_extracting_the_others_again(finished_run, monkeypatch):
    saeviz.run(finished_run)
    seen = []
    from saeviz.testing import fakes

    original = fakes.FakeExtractor.extract

    def watched(self, items):
        def passing():
            for item in items:
                seen.append(item.item_id)
                yield item

        return original(self, passing())

    monkeypatch.setattr(fakes.FakeExtractor, "extract", watched)
    run = saeviz.run(finished_run, settings=["images.n=27"])
    assert seen == ["picture/24", "picture/25", "picture/26"]
    assert len(run.items) == 27
    assert run.manifest["stages"]["score"]["counts"]["images"] == 27


@pytest.mark.slow
def test_a_picture_that_changed_is_extracted_and_embedded_again(tmp_path, fake_run):
    from saeviz.testing.fakes import draw_rectangle

    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, colour in enumerate(["red", "green", "blue", "white"]):
        (folder / f"{number}.png").write_bytes(draw_rectangle(colour, generator))
    settings = ["images.use=folder", f"images.path={folder}", "labeler.use=none"]
    text = fake_run.read_text().replace("n = 24\n", "").replace('use = "fake-images"', 'use = "folder"')
    fake_run.write_text(text)
    before = saeviz.run(fake_run, settings=settings).features("layer1.cls").matrix.toarray()
    (folder / "2.png").write_bytes((folder / "0.png").read_bytes())
    after = saeviz.run(fake_run, settings=settings)
    rows = dict(zip(after.features("layer1.cls").item_ids, after.features("layer1.cls").matrix.toarray(), strict=True))
    assert (rows["2.png"] == rows["0.png"]).all()
    assert (rows["1.png"] == before[1]).all()
    assert after.manifest["stages"]["embed"]["counts"]["embedded"] == 4


@pytest.fixture
def folder_run(tmp_path, fake_run):
    """A run over four files, `pictures/0.png` to `pictures/3.png`; the file and the folder."""
    from saeviz.testing.fakes import draw_rectangle

    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, colour in enumerate(["red", "green", "blue", "white"]):
        (folder / f"{number}.png").write_bytes(draw_rectangle(colour, generator))
    text = fake_run.read_text().replace("n = 24\n", f'path = "{folder}"\n').replace('"fake-images"', '"folder"')
    fake_run.write_text(text.replace('[labeler]\nuse = "fake-labeler"', '[labeler]\nuse = "none"'))
    return fake_run, folder


def rows_of(run):
    batch = run.features("layer1.cls")
    return dict(zip(batch.item_ids, batch.matrix.toarray().tolist(), strict=True))


def forget_digests(run):
    """As of a run that was killed while it extracted."""
    manifest = json.loads((run.dir / "run.json").read_text())
    manifest["stages"]["extract"].pop("sha256")
    (run.dir / "run.json").write_text(json.dumps(manifest))


@pytest.mark.slow
def test_a_picture_that_changed_and_cannot_be_read_is_left_out_until_it_can(folder_run):
    run_file, folder = folder_run
    whole = (folder / "2.png").read_bytes()
    before = saeviz.run(run_file)
    (folder / "2.png").write_bytes(whole[:-30])
    for _ in range(2):
        broken = saeviz.run(run_file)
        assert [(failure.stage, failure.subject) for failure in broken.failures] == [("extract", "2.png")]
        assert [item.item_id for item in broken.items] == ["0.png", "1.png", "3.png"]
        assert broken.manifest["stages"]["score"]["counts"]["images"] == 3
    (folder / "2.png").write_bytes((folder / "0.png").read_bytes())
    repaired = saeviz.run(run_file)
    assert repaired.failures == []
    assert rows_of(repaired) == {**rows_of(before), "2.png": rows_of(before)["0.png"]}
    assert repaired.manifest["stages"]["embed"]["counts"]["embedded"] == 4


def test_another_picture_under_the_id_of_a_removed_image_is_extracted(folder_run):
    run_file, folder = folder_run
    first = rows_of(saeviz.run(run_file, plan=Plan(last="extract")))
    (folder / "2.png").unlink()
    (folder / "4.png").write_bytes((folder / "0.png").read_bytes())
    fewer = saeviz.run(run_file, plan=Plan(last="extract"))
    assert list(fewer.fingerprints) == ["0.png", "1.png", "3.png", "4.png"]
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes())
    again = saeviz.run(run_file, plan=Plan(last="extract"))
    assert any("extract: 1 of 5 images to do" in line for line in log_of(again))
    assert rows_of(again) == {**first, "2.png": first["1.png"], "4.png": first["0.png"]}


def extract_only(run_file, limit=None):
    """The run, and what it said of images to extract."""
    made = saeviz.run(run_file, plan=Plan(last="extract"), limit=limit)
    return made, [line for line in log_of(made) if "images to do" in line][-1].partition(" in ")[0]


@pytest.mark.parametrize("killed_between", [False, True])
def test_images_that_a_run_with_a_limit_leaves_out_keep_their_records(folder_run, killed_between):
    run_file, folder = folder_run
    (folder / "3.png").write_bytes(b"unreadable")
    made, _ = extract_only(run_file)
    first, earlier = rows_of(made), (made.dir / "items.parquet").read_bytes()
    assert list(extract_only(run_file, limit=1)[0].fingerprints) == ["0.png"]
    if killed_between:  # the files of others and of these
        (made.dir / "items.parquet").write_bytes(earlier)
        forget_digests(made)
    assert "extract: 1 of 4 images to do" in extract_only(run_file)[1]
    assert not (made.dir / "other_items.parquet").exists()
    extract_only(run_file, limit=1)
    (folder / "2.png").write_bytes((folder / "0.png").read_bytes())
    extract_only(run_file, limit=2)
    again, said = extract_only(run_file)
    assert "extract: 2 of 4 images to do" in said
    assert rows_of(again) == {**first, "2.png": first["0.png"]}


def test_an_image_that_comes_back_is_an_image_of_the_run_again(folder_run):
    run_file, folder = folder_run
    first = rows_of(extract_only(run_file)[0])
    there, away = folder / "2.png", folder.parent / "2.png"
    there.rename(away)
    (folder / "4.png").write_bytes((folder / "1.png").read_bytes())
    assert sorted(extract_only(run_file)[0].fingerprints) == ["0.png", "1.png", "3.png", "4.png"]
    away.rename(there)
    again, said = extract_only(run_file)
    assert "extract: 0 of 5 images to do" in said
    assert rows_of(again) == {**first, "4.png": first["1.png"]}
    made = saeviz.run(run_file, plan=Plan(last="extract"))
    assert [line for line in log_of(made) if "extract:" in line][-1].endswith("extract: up to date")


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_picture_that_changes_back_after_a_kill_is_extracted_again(folder_run, monkeypatch, is_removed):
    from saeviz.testing.fakes import FakeExtractor

    run_file, folder = folder_run
    path, extract = folder / "2.png", FakeExtractor.extract
    before, when = path.read_bytes(), path.stat()
    first = rows_of(extract_only(run_file)[0])
    if is_removed:
        path.unlink()
        (folder / "4.png").write_bytes((folder / "1.png").read_bytes())
        extract_only(run_file)
    path.write_bytes((folder / "1.png").read_bytes())

    def killed(extractor, items):
        yield from extract(extractor, items)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FakeExtractor, "extract", killed)
        with pytest.raises(KeyboardInterrupt):
            extract_only(run_file)
    path.write_bytes(before)
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    (folder / "4.png").unlink(missing_ok=True)
    assert rows_of(extract_only(run_file)[0])["2.png"] == first["2.png"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_features_of_an_image_without_a_record_are_of_an_unknown_picture(folder_run, monkeypatch, is_killed):
    from saeviz.testing.fakes import FakeExtractor

    run_file, folder = folder_run
    made = saeviz.run(run_file, plan=Plan(last="extract"))
    first, path = rows_of(made), made.dir / "items.parquet"
    table = pd.read_parquet(path)
    table[table["item_id"] != "2.png"].to_parquet(path)
    forget_digests(made)
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes())
    if is_killed:
        with monkeypatch.context() as patch:
            patch.setattr(FakeExtractor, "extract", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                saeviz.run(run_file, plan=Plan(last="extract"))
    again = saeviz.run(run_file, plan=Plan(last="extract"))
    assert rows_of(again) == {**first, "2.png": first["1.png"]}


def test_a_run_with_nothing_to_do_looks_at_each_picture_once(folder_run, monkeypatch):
    run_file, _ = folder_run
    saeviz.run(run_file)
    looked_at = []
    fingerprint = saeviz.ImageItem.fingerprint.fget
    monkeypatch.setattr(
        saeviz.ImageItem, "fingerprint", property(lambda item: looked_at.append(item.item_id) or fingerprint(item))
    )
    assert stages_that_ran(run_file) == []
    assert looked_at == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.slow
@pytest.mark.parametrize("during", ["extract", "embed"])
def test_a_picture_that_changes_while_the_run_is_on_is_made_anew_by_the_next(folder_run, monkeypatch, during):
    from saeviz.testing.fakes import FakeEmbeddings, FakeExtractor

    run_file, folder = folder_run
    fake = FakeExtractor if during == "extract" else FakeEmbeddings
    original = getattr(fake, during)

    def then_changed(self, items):
        found = list(original(self, items))
        (folder / "1.png").write_bytes((folder / "3.png").read_bytes())
        return found if during == "extract" else np.array(found)

    monkeypatch.setattr(fake, during, then_changed)
    saeviz.run(run_file)
    monkeypatch.undo()
    after = saeviz.run(run_file)
    assert rows_of(after)["1.png"] == rows_of(after)["3.png"]
    one, _, other = EmbeddingFiles(after.dir / "embeddings").read(after.items)[1:]
    assert one.tolist() == other.tolist()
    assert stages_that_ran(run_file) == []


def test_redo_from_and_until(fake_run):
    assert stages_that_ran(fake_run, plan=Plan(last="score")) == STAGES[:3]
    run = saeviz.open_run(fake_run.parent / "runs" / "fake")
    assert list(run.manifest["stages"]) == STAGES[:3]
    with pytest.raises(saeviz.RunDirError, match="run the stage 'select' first"):
        _ = run.selected
    assert stages_that_ran(fake_run, plan=Plan(first="select")) == STAGES[3:]
    again = saeviz.run(fake_run, plan=Plan(redo=("score",)))
    assert any("score: runs again, as requested" in line for line in log_of(again))
    assert sum("extract: up to date" in line for line in log_of(again)) == 1


def test_from_needs_what_comes_before(fake_run):
    with pytest.raises(saeviz.ConfigError, match="the stage extract is not finished; start with --from extract"):
        saeviz.run(fake_run, plan=Plan(first="score"))


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"first": "scor"}, "did you mean 'score'"),
        ({"redo": ("x",)}, "there are: extract"),
        ({"first": "label", "last": "embed"}, "--from label comes after --until embed"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(plan, message):
    with pytest.raises(saeviz.ConfigError, match=message):
        Plan(**plan)


@pytest.mark.slow
def test_what_is_broken_is_listed_and_the_rest_goes_on(fake_run):
    run = saeviz.run(fake_run, settings=["images.broken=2"])
    assert [(failure.stage, failure.subject) for failure in run.failures] == [
        ("extract", "picture/22"),
        ("extract", "picture/23"),
    ]
    assert len(run.items) == 22
    again = saeviz.run(fake_run, settings=["images.broken=2"])
    assert again.failures == run.failures, "tried again, listed once"
    repaired = saeviz.run(fake_run)
    assert repaired.failures == []
    assert len(repaired.items) == 24


@pytest.mark.slow
def test_a_feature_without_a_name_is_listed_and_tried_again(fake_run, monkeypatch):
    from saeviz.testing.fakes import FakeLabeler

    original = FakeLabeler.label
    asked: list[str] = []

    def refuses_the_second(self, request):
        asked.append(str(request.feature))
        if len(asked) == 2:
            raise saeviz.LabelError("no idea")
        return original(self, request)

    monkeypatch.setattr(FakeLabeler, "label", refuses_the_second)
    run = saeviz.run(fake_run)
    refused = str(run.selected[1].feature)
    assert [(failure.stage, failure.subject, failure.error) for failure in run.failures] == [
        ("label", refused, "no idea")
    ]
    assert len(run.labels) == len(run.selected) - 1
    first = len(asked)
    assert any(line.endswith(f"label: {first - 1} of {first} features have a name") for line in log_of(run))
    again = saeviz.run(fake_run)
    assert asked[first:] == [refused]
    assert again.failures == []
    assert list(again.labels) == [choice.feature for choice in again.selected]


def test_labels_are_not_made_again_for_an_unchanged_request(finished_run, monkeypatch):
    from saeviz.testing.fakes import FakeLabeler

    first = saeviz.run(finished_run)
    asked = []
    original = FakeLabeler.label
    monkeypatch.setattr(FakeLabeler, "label", lambda self, request: asked.append(request) or original(self, request))
    fewer = saeviz.run(finished_run, settings=["selector.limit=3"])
    assert asked == []
    assert len(fewer.labels) == 3
    assert set(fewer.labels.items()) <= set(first.labels.items())


def test_a_run_without_labeler_embeddings_and_ratings_is_a_run(fake_run):
    run = saeviz.run(
        fake_run,
        settings=["labeler.use=none", "embeddings.use=none", "images.unrated=24", "scorers=[]", "reporters=[]"],
    )
    assert run.labels == {}
    assert run.ratings == []
    assert len(run.correlations) == 0
    assert "monosemanticity" not in run.scores


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_are_a_run_without_correlations(fake_run, n):
    run = saeviz.run(fake_run, settings=[f"images.n={n}"])
    assert len(run.items) == n
    assert run.correlations["q"].isna().all()


@pytest.mark.slow
@pytest.mark.parametrize(("unrated", "is_said"), [(11, False), (12, True)])
def test_ratings_that_half_of_the_images_lack_are_said_once(fake_run, unrated, is_said):
    run = saeviz.run(fake_run, settings=["images.n=24", f"images.unrated={unrated}"])
    for name in ("warmth", "noise"):
        word = f"images: only {24 - unrated} of 24 have the rating '{name}'; only these are used for it"
        assert sum(line.endswith(word) for line in log_of(run)) == is_said


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (
            'use = "pearson-bh", ratings = ["warmt"]',
            "ratings: the images have no rating 'warmt'; did you mean 'warmth'?",
        ),
        (
            'use = "partial", control = ["color"]',
            "control: the images have no rating, metadata or column 'color'; did you mean",
        ),
        ('use = "prediction", ratings = ["x"]', "ratings: the images have no rating 'x'; there are: 'warmth', 'noise'"),
        (
            'use = "raters", sd = {noise = "sd"}, n = {noise = "title"}',
            "sd: the images have no rating or metadata 'sd'",
        ),
    ],
)
def test_a_misspelt_rating_or_column_is_found_before_anything_is_extracted(
    fake_run, saeviz_command, monkeypatch, scorer, message
):
    from saeviz.testing.fakes import FakeExtractor

    monkeypatch.setattr(FakeExtractor, "extract", lambda *_: pytest.fail("it extracts first"))
    settings = f'scorers=[{{use = "monosemanticity"}}, {{{scorer}}}]'
    with pytest.raises(saeviz.ConfigError) as caught:
        saeviz.run(fake_run, settings=[settings])
    assert str(caught.value).startswith(f"scorers.1.{message}")

    ended = saeviz_command("check", fake_run, "--set", settings)
    assert ended.code == saeviz.ExitCode.USAGE
    assert f"scorers.1.{message}" in ended.err


def test_a_run_that_does_not_score_does_not_ask_for_the_names_of_scorers(fake_run):
    run = saeviz.run(fake_run, settings=['scorers=[{use = "pearson-bh", ratings = ["x"]}]'], plan=Plan(last="extract"))
    assert list(run.manifest["stages"]) == ["extract"]


def test_the_manifest_says_what_its_components_are_to_be_cited_for(fake_run):
    run = saeviz.run(fake_run, settings=["labeler.use=metadata-terms", "images.n=4"], plan=Plan(last="extract"))
    (work,) = run.manifest["plugins"]["labeler"]["cites"]
    assert work["authors"] == "Monroe, Colaresi & Quinn (2008)"


def test_no_images_at_all(fake_run):
    with pytest.raises(saeviz.DataError, match="fake-images has no images"):
        saeviz.run(fake_run, settings=["images.n=0"])


def test_nothing_but_broken_images(fake_run):
    with pytest.raises(saeviz.DataError, match=r"none of the 3 images could be used; .*failures\.jsonl"):
        saeviz.run(fake_run, settings=["images.n=3", "images.broken=3"])


def test_a_component_that_raises_is_named_and_its_traceback_logged(fake_run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import saeviz\n"
        "class Bad:\n"
        "    def __init__(self, options, context): pass\n"
        "    def score(self, data):\n"
        "        yield 1 / 0\n"
        "@saeviz.hookimpl\n"
        "def saeviz_scorers():\n"
        "    yield saeviz.ScorerSpec(name='bad', summary='fails', factory=Bad)\n"
    )
    words = ["module:saeviz.testing.fakes", str(tmp_path / "mine.py")]
    with pytest.raises(saeviz.PluginError, match=r"scorers\.0: bad of plugin mine .* ZeroDivisionError"):
        saeviz.run(fake_run, settings=['scorers=[{ use = "bad" }]'], plugins=words)
    log = (tmp_path / "runs" / "fake" / "log.txt").read_text()
    assert "yield 1 / 0" in log
    assert "ERROR scorers.0: bad of plugin mine" in log.splitlines()[-1]


@pytest.mark.parametrize(
    ("space", "target", "message"),
    [
        ("data.space", "'warmt'", "gave 'x' for 'warmt', which is not a rating of this run"),
        (
            "saeviz.FeatureSpace(9, 'cls', 1)",
            None,
            "gave 'x' of layer9.cls, which is not a space of this run",
        ),
    ],
)
def test_a_column_that_no_table_has_a_place_for_is_refused(fake_run, tmp_path, space, target, message):
    (tmp_path / "mine.py").write_text(
        "import saeviz\n"
        "class Mine:\n"
        "    def __init__(self, options, context): pass\n"
        "    def score(self, data):\n"
        f"        space = {space}\n"
        f"        yield saeviz.ScoreColumn('x', space, [0.0] * space.n_features, target={target})\n"
        "@saeviz.hookimpl\n"
        "def saeviz_scorers():\n"
        "    yield saeviz.ScorerSpec(name='mine', summary='misspells', factory=Mine)\n"
    )
    words = ["module:saeviz.testing.fakes", str(tmp_path / "mine.py")]
    with pytest.raises(saeviz.PluginError) as caught:
        saeviz.run(fake_run, settings=['scorers=[{ use = "mine" }]'], plugins=words)
    assert str(caught.value) == f"scorers.0: mine of plugin mine (file {tmp_path / 'mine.py'}) {message}"


@pytest.mark.parametrize("setting", ["store.encoding=scipy", "store.shard_rows=7"])
def test_an_option_that_no_outcome_depends_on_runs_nothing_again(finished_run, setting):
    saeviz.run(finished_run)
    assert stages_that_ran(finished_run, setting) == []


@pytest.mark.slow
def test_features_from_other_files_than_before_are_told(fake_run, monkeypatch, caplog):
    """As when the branch of a hub that a run names has moved on between two runs."""
    from saeviz.testing.fakes import FakeExtractor

    monkeypatch.setattr(FakeExtractor, "provenance", {"commit": "a1", "engine": "abacus"}, raising=False)
    saeviz.run(fake_run, settings=["images.n=12"])
    monkeypatch.setattr(FakeExtractor, "provenance", {"commit": "b2", "engine": "abacus"})
    run = saeviz.run(fake_run)
    log = (run.dir / "log.txt").read_text()
    assert "extract: commit is now b2; it was a1 for features that the run has already; --redo extract" in log
    assert "engine is now" not in log
    assert run.manifest["stages"]["extract"]["provenance"]["commit"] == "b2"


def test_an_open_run_looks_at_single_images(finished_run):
    run = saeviz.open_run(saeviz.run(finished_run).dir, plugins=[FAKES])
    feature = run.selected[0].feature
    item = run.top_images(feature, k=1)[0].item
    assert run.heatmap(feature, item.item_id).ndim == 2
    with pytest.raises(saeviz.DataError, match="no image 'nobody'"):
        run.heatmap(feature, "nobody")
    with pytest.raises(saeviz.ConfigError, match=r"features, so layer1\.cls/99999 does not exist"):
        run.top_images("layer1.cls/99999")
    with pytest.raises(saeviz.ConfigError, match=r"no space 'layer9\.cls'; there are: layer1\.cls"):
        run.features("layer9.cls")
