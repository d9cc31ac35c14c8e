"""What a paper needs of a run: `saeviz paper`."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import saeviz
from saeviz_report import latex
from tests.conftest import FAKES, Outcome

HOSTILE = "50% & $x_1$ \\input{/etc/passwd} #~^{} [6pt]\n\x1b[31m\u202e=1+1 -- ?`"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> saeviz.Run:
    """A finished run over sixty pictures, one of which cannot be read."""
    return saeviz.run(
        {
            "images": {"use": "fake-images", "n": 60, "broken": 1},
            "extractor": {"use": "fake-extractor"},
            "store": {"use": "npz"},
            "embeddings": {"use": "fake-embeddings"},
            "scorers": [{"use": "monosemanticity", "draws": 0}, {"use": "pearson-bh"}],
            "labeler": {"use": "fake-labeler"},
            "reporters": [{"use": "paper"}],
            "run": {"dir": str(tmp_path_factory.mktemp("run"))},
        },
        plugins=[FAKES],
    )


def read(run: saeviz.Run, name: str) -> str:
    return (run.dir / "paper" / name).read_text()


def test_the_methods_say_what_this_run_did(run):
    text = read(run, "methods.txt")
    assert "We analysed 59 images with 2 ratings (warmth, noise)." in text
    assert "extractor fake-extractor" in text
    assert "2 spaces (layer1.cls, layer2.cls) of 32 features each" in text
    assert f"({run.facts['correlation_family_size']} tests)" in text
    assert "at a level of 0.05; features active on fewer than 10 rated images were not tested" in text
    assert "(Benjamini & Hochberg, 1995)" in text
    assert "conditional on their being significant (Zhong & Prentice, 2008)" in text
    assert f"{len(run.selected)} features were selected (selector tiered)" in text
    assert "The random seed was 0" in text
    assert "robust" not in text  # no groups
    assert "tested again" not in text  # no split


def test_every_key_that_is_cited_is_in_the_references(run):
    cited = {key for keys in re.findall(r"\\citep\{([^}]*)\}", read(run, "methods.tex")) for key in keys.split(",")}
    known = re.findall(r"^@misc\{(\w+),$", read(run, "references.bib"), re.MULTILINE)
    assert {"benjamini1995", "zhong2008", "pach2025"} <= cited <= set(known)
    assert len(set(known)) == len(known)


def test_tables_have_the_figures_of_the_run(run):
    table = pd.read_csv(run.dir / "paper" / "relations.csv")
    features = pd.read_csv(run.dir / "paper" / "features.csv")
    assert len(features) == len(run.selected)
    assert len(table) == 2 * len(run.selected)
    correlations = run.correlations.assign(name=[str(one) for one in saeviz.features_of(run.correlations)])
    both = table.merge(correlations, left_on=["feature", "rating"], right_on=["name", "rating"], suffixes=("", "_of"))
    assert len(both) == len(table)
    pd.testing.assert_series_equal(both["r"], both["r_of"], check_names=False)
    pd.testing.assert_series_equal(both["r_corrected"], both["r_corrected_of"], check_names=False)
    n_significant = int((table["significant"] == 1).sum())
    assert read(run, "relations.tex").count("\nlayer") == n_significant > 5


def test_columns_of_the_tables_say_what_they_are(run):
    told = pd.read_csv(run.dir / "paper" / "columns.csv", keep_default_na=False).set_index(["file", "column"])
    for name in ("features.csv", "relations.csv"):
        assert list(told.loc[name].index) == list(pd.read_csv(run.dir / "paper" / name))
    assert set(told.loc["features.csv"].index) >= set(run.scores) - set(saeviz.KEYS)
    assert told.loc["features.csv", "ms_z"].tolist() == ["score minus the mean of the null", "SD of the null", "higher"]
    assert (told["description"] != "").all()
    assert "q: p adjusted for all tests of the family; lower is better" in read(run, "relations.tex")


def test_every_image_has_its_hash(run):
    table = pd.read_csv(run.dir / "paper" / "files.csv", keep_default_na=False)
    images = table[table["kind"] == "image"].set_index("name")
    assert len(images) == 59
    for item in run.items:
        assert images.loc[item.item_id, "sha256"] == hashlib.sha256(item.source).hexdigest()
        assert int(images.loc[item.item_id, "bytes"]) == len(item.source)
    model = table[table["kind"] == "model"].set_index("name")["note"]
    assert list(model.index) == ["extractor", "embeddings"]
    assert all("does not say which files it uses" in note for note in model)


def test_the_weights_of_embedding_models_have_their_hash(run, monkeypatch, tmp_path):
    from saeviz.testing.fakes import FakeEmbeddings
    from saeviz_report.hashes import file_table

    (tmp_path / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(
        FakeEmbeddings, "model_files", lambda _: [tmp_path / "model.safetensors", tmp_path / "gone"], raising=False
    )
    table = file_table(saeviz.open_run(run.dir, plugins=[FAKES]), saeviz.Context()).set_index("name")
    assert table.loc[str(tmp_path / "model.safetensors"), "sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert "cannot be read" in table.loc[str(tmp_path / "gone"), "note"]


def test_a_picture_that_is_gone_is_said_to_be(tmp_path, saeviz_command):
    from tests.hostile_server import picture

    (tmp_path / "pictures").mkdir()
    for number in range(3):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(picture("red"))
    made = saeviz.run(
        {
            "images": {"use": "folder", "path": str(tmp_path / "pictures")},
            "extractor": {"use": "fake-extractor"},
            "scorers": [],
            "reporters": [],
            "run": {"dir": str(tmp_path / "run")},
        },
        plugins=[FAKES],
    )
    items = made.items
    (tmp_path / "pictures" / "1.png").unlink()
    from saeviz_report.hashes import file_table

    table = file_table(made, saeviz.Context()).set_index("name")
    assert len(items) == 3
    assert "cannot be read" in table.loc["1.png", "note"]
    assert table.loc["0.png", "sha256"] == hashlib.sha256(picture("red")).hexdigest()


def test_the_command_writes_beside_where_it_is_called(run, saeviz_command):
    done = saeviz_command("paper", run.dir, "--plugins", FAKES)
    assert done.code == 0, done
    assert done.out.strip() == "paper"
    names = {path.name for path in Path("paper").iterdir()}
    assert names == {
        "methods.tex", "methods.txt", "references.bib", "features.csv", "features.tex", "relations.csv",
        "relations.tex", "columns.csv", "files.csv", "SHA256SUMS",
    }  # fmt: skip
    assert Path("paper/methods.tex").read_text() == read(run, "methods.tex")


def test_the_command_overwrites_only_what_it_wrote(run, saeviz_command):
    def call(*more: str) -> Outcome:
        return saeviz_command("paper", run.dir, "--plugins", FAKES, *more)

    assert call().code == 0
    assert call().code == 0, "its own files, unchanged"
    for name in ("references.bib", "main.tex"):
        Path("paper", name).write_text("mine")
        refused = call()
        assert refused.code == 2
        step = "choose another folder with --out, or write to paper with --force"
        assert f"{Path('paper', name)} is not as saeviz paper wrote it; {step}" in refused.err
        assert Path("paper", name).read_text() == "mine"
        assert call("--force").code == 0
    assert Path("paper/main.tex").read_text() == "mine"
    assert Path("paper/references.bib").read_text() == read(run, "references.bib")
    assert call("--out", "other").code == 0


def test_a_folder_that_was_there_before_is_left_alone(run, saeviz_command):
    Path("paper/sections").mkdir(parents=True)
    assert saeviz_command("paper", run.dir, "--plugins", FAKES).code == 2
    assert [path.name for path in Path("paper").iterdir()] == ["sections"]


@pytest.mark.parametrize(
    "facts", [{"correlation_alpha": {"a": 1}, "correlation_family_size": "x"}, {"correlation_split": [1]}]
)
@pytest.mark.parametrize("config", [{"labeler": 5, "run": [1]}, {"extractors": [3], "selector": "x", "run": "seed"}])
def test_whatever_a_stranger_wrote_ends_in_a_sentence_or_a_paper(run, tmp_path, saeviz_command, facts, config):
    copy = shutil.copytree(run.dir, tmp_path / "copy")
    manifest = json.loads((copy / "run.json").read_text())
    manifest["config"] |= config
    manifest["stages"]["score"]["facts"] |= facts
    manifest["plugins"]["scorers.7"] = 3
    (copy / "run.json").write_text(json.dumps(manifest))
    done = saeviz_command("paper", copy, "--plugins", FAKES)
    assert done.code == 0 or ("correlation_alpha" in facts and done.err.startswith("saeviz: ")), done


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50% & $x_1$", r"50\% \& \$x\_1\$"),
        ("\\input{a}", r"\textbackslash{}input\{a\}"),
        ("[6pt]*", "{[}6pt{]}{*}"),
        ("a\nb\tc", "a b c"),
        ("\x1b[31m", r"\textbackslash{}u001b{[}31m"),
        ("1--2 ---", "1-{}-2 -{}-{}-"),
        ("?`", r"?\textasciigrave{}"),
        ("3\N{EN DASH}4", r"3\textendash{}4"),
        ("~^#<>|", r"\textasciitilde{}\textasciicircum{}\#\textless{}\textgreater{}\textbar{}"),
    ],
)
def test_text_from_data_is_no_latex(text, written):
    assert latex.escaped(text) == written


def test_a_hostile_cell_is_one_cell_of_one_row():
    found = latex.table(["label"], [[HOSTILE]], "caption")
    rows = [line for line in found.split("\n") if line.endswith(r" \\")]
    assert len(rows) == 2  # the head and the row
    assert "\x1b" not in found
    assert "\u202e" not in found
    assert re.search(r"(?<!\\)[&$#%]", rows[1].removesuffix(r" \\")) is None


def test_numbers_are_written_short():
    cells = [latex.cell(value) for value in (0.123456, -0.5, 3, 1.23e-11, float("nan"), None, 0.0)]
    assert cells == ["$0.123$", "$-0.5$", "3", r"$1.2 \times 10^{-11}$", "", "", "$0$"]


def test_two_works_of_one_author_and_year_have_different_keys():
    works = [
        saeviz.Citation("a", "Müller & Ng (2020)", "One", "X"),
        saeviz.Citation("b", "Müller et al. (2020)", "Two", "doi:10.1/2"),
    ]
    assert list(latex.keys(works).values()) == ["muller2020", "muller2020b"]
    found = latex.bibtex(works)
    assert "author = {Müller and Ng}" in found
    assert "author = {Müller and others}" in found
    assert "doi = {10.1/2}" in found


def test_a_work_that_a_stranger_names_is_text():
    works = [
        saeviz.Citation("a", "Roe} and note = {\\input{x}} % (2026)", "One", "doi:10.1/x}},\\write18{id}"),
        *(saeviz.Citation("a", "Roe (2027)", str(n), "X") for n in range(12)),
    ]
    found = latex.bibtex(works)
    assert r"author = {Roe\} and note = \{\textbackslash{}input\{x\}\} \%}" in found
    assert r"doi = {10.1/x\}\},\textbackslash{}write18\{id\}}" in found
    assert len(set(latex.keys(works).values())) == len(works)


@pytest.mark.parametrize("folder", ["/home/ada/my models/", "C:\\Users\\ada\\models\\", "../models/", "~/models/"])
def test_of_a_model_in_a_folder_only_its_name_is_in_the_text(run, folder):
    from saeviz_report.method import method_of
    from saeviz_report.methods_text import name_of, sentences

    extract = {**run.manifest["stages"]["extract"], "provenance": {"model": f"{folder}dino"}}
    config = {**run.manifest["config"], "labeler": {"use": "openai", "model": f"{folder}qwen"}}
    known = {**run.manifest, "config": config, "stages": {**run.manifest["stages"], "extract": extract}}
    text = str(sentences(SimpleNamespace(**_shown(run), manifest=known), method_of(run)))
    assert "; model: dino)" in text
    parts = {"a": {"model": f"{folder}dino"}, "b": {"model": "CLIP"}}
    both = {**known, "stages": {**known["stages"], "extract": {**extract, "provenance": parts}}}
    both["config"] = {**config, "extractors": [{"name": name, "use": "vit-sae"} for name in parts]}
    assert "; models: dino and CLIP)" in str(sentences(SimpleNamespace(**_shown(run), manifest=both), method_of(run)))
    assert name_of(f"the CLIP model in the folder {folder}of ours/clip") == "the CLIP model in the folder clip"
    assert name_of(f"ViT-B-32 with the weights in {folder}w.pt") == "ViT-B-32 with the weights in w.pt"
    assert name_of(f"ViT-B-32 of {folder}w in use.pt") == "ViT-B-32 of w in use.pt"
    assert name_of("openai/clip") == "openai/clip"
    assert "model qwen)" in text


def _shown(run):
    names = ("items", "ratings", "spaces", "scores", "facts", "correlations", "selected", "labels", "judgements")
    return {name: getattr(run, name) for name in (*names, "label_ratings", "citations")}


def test_a_selection_that_was_repeated_says_how_stable_it_is(run):
    from saeviz_report.method import method_of
    from saeviz_report.methods_text import sentences

    shares = [0.25, 0.75, *[1.0] * (len(run.selected) - 2)]
    tiers = [1, 1, *[3] * (len(run.selected) - 2)]
    told = zip(run.selected, tiers, shares, strict=True)
    selected = [replace(one, tier=tier, selection_stability=share, tier_stability=0.25) for one, tier, share in told]
    stages = {**run.manifest["stages"], "select": {"counts": {"halves": 40}}}
    shown = {**_shown(run), "selected": selected, "manifest": {**run.manifest, "stages": stages}}
    text = str(sentences(SimpleNamespace(**shown), method_of(run)))
    assert "on 40 random halves of the images" in text
    assert "selected a feature again is 0.50 in tier 1, 1.00 in tier 3." in text
    assert "random halves" not in str(sentences(run, method_of(run)))


def test_a_split_of_images_in_groups_is_one_of_groups(run):
    from saeviz_report.method import method_of
    from saeviz_report.methods_text import sentences

    method = method_of(run)
    method = replace(method, correlations=method.correlations.assign(r_held_out=0.1), share_found_on=0.5)
    grouped = [replace(item, group=f"series {place // 3}") for place, item in enumerate(run.items)]
    for items, word in ((run.items, "images"), (grouped, "groups of images")):
        text = str(sentences(SimpleNamespace(**{**_shown(run), "manifest": run.manifest, "items": items}), method))
        assert f"found on a random 50 % of the {word} and tested again on the others" in text
