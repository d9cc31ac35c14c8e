"""Model folders that somebody sends: settings that want their own Python to be run, and what is no file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

import saeviz
from saeviz.toolkit.torch import first_line

GREY = saeviz.ImageItem("grey", lambda: Image.new("RGB", (40, 40), (90, 90, 90)))
OFFLINE = saeviz.Context(device="cpu", offline=True)


@pytest.fixture
def mark(tmp_path) -> Path:
    """The file that their code would write."""
    return tmp_path / "their-code-ran"


@pytest.fixture
def evil(tmp_path, mark):
    """A copy of a model folder with Python of its own, and keys that name it in one of its files."""

    def make(folder: Path, file: str, *place: str, **keys: object) -> Path:
        copy = tmp_path / "evil"
        shutil.copytree(folder, copy)
        for name in ("configuration_evil", "tokenization_evil", "modeling_evil", "image_evil"):
            (copy / f"{name}.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: pass\n")
        settings = json.loads((copy / file).read_text()) if (copy / file).exists() else {}
        inner = settings
        for key in place:
            inner = inner.setdefault(key, {})
        inner.update(keys)
        (copy / file).write_text(json.dumps(settings))
        return copy

    return make


@pytest.fixture
def build(make, tmp_path):
    """An extractor whose model is a folder."""
    saes = {1: str(make.sae(tmp_path / "sae"))}
    names = {"clip": ("clip-b32-prisma", "clip_checkpoint"), "vit": ("vit-sae", "model")}

    def make_extractor(kind: str, folder: Path):
        name, option = names[kind]
        return saeviz.component("extractor", name, context=OFFLINE, saes=saes, layers=[1], **{option: str(folder)})

    return make_extractor


@pytest.fixture
def refused(mark, capfd):
    """Loading is refused for a key, without a question, and nothing has run."""

    def check(load, key: str) -> None:
        with pytest.raises(saeviz.DataError, match=rf"{key}.* never runs code shipped with a model") as caught:
            load()
        out, err = capfd.readouterr()
        assert "[y/N]" not in out + err
        assert "trust_remote_code=True" not in str(caught.value) + out + err
        assert not mark.exists()

    return check


@pytest.mark.parametrize(
    ("file", "place", "keys"),
    [
        (
            "open_clip_config.json",
            ("model_cfg", "text_cfg"),
            {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}},
        ),
        ("open_clip_config.json", ("model_cfg", "vision_cfg", "model_kwargs"), {"trust_remote_code": True}),
        ("open_clip_config.json", (), {"trust_remote_code": False}),
        ("tokenizer_config.json", (), {"auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]}}),
        ("config.json", (), {"auto_map": {"AutoConfig": "configuration_evil.Evil"}, "model_type": "evil"}),
    ],
)
def test_a_clip_folder_that_wants_code_to_be_run(clip_folder, evil, refused, build, file, place, keys):
    folder = evil(clip_folder, file, *place, **keys)
    if "hf_tokenizer_name" not in keys:
        evil_config = json.loads((folder / "open_clip_config.json").read_text())
        evil_config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "x"
        (folder / "open_clip_config.json").write_text(json.dumps(evil_config))
    key = "auto_map" if "auto_map" in keys else "trust_remote_code"
    refused(lambda: build("clip", folder).embed_texts(["a"]), key)
    refused(lambda: build("clip", folder).spaces, key)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("auto_map", {"AutoModel": "modeling_evil.Evil", "AutoImageProcessor": "image_evil.Evil"}),
        ("trust_remote_code", True),
        ("attn_implementation", "owner/kernels"),
    ],
)
def test_a_transformers_folder_that_wants_code_to_be_run(vit_folder, evil, refused, build, file, key, value):
    folder = evil(vit_folder, file, **{key: value})
    refused(lambda: build("vit", folder).extract_from_image(GREY), key)
    embedder = saeviz.component("embeddings", "dinov2", context=OFFLINE, model=str(folder))
    refused(lambda: embedder.embed([GREY]), key)


def test_a_timm_folder_that_wants_code_to_be_run(tmp_path, refused):
    folder = tmp_path / "timm"
    folder.mkdir()
    config = {"architecture": "resnet18", "model_args": {"trust_remote_code": True}, "pretrained_cfg": {}}
    (folder / "config.json").write_text(json.dumps(config))
    embedder = saeviz.component("embeddings", "timm", context=OFFLINE, model=str(folder))
    refused(lambda: embedder.dim, "trust_remote_code")


def test_a_model_type_of_its_own_is_not_looked_for(vit_folder, evil, build, mark):
    folder = evil(vit_folder, "config.json", model_type="evil")
    with pytest.raises(saeviz.DataError, match=r"extractor.model: transformers cannot load .*evil"):
        build("vit", folder).extract_from_image(GREY)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "model.pth", "generation_config.json"])
def test_a_pipe_in_a_model_folder_is_not_waited_for(vit_folder, clip_folder, build, tmp_path, name):
    for kind, folder in (("vit", vit_folder), ("clip", clip_folder)):
        copy = tmp_path / kind
        shutil.copytree(folder, copy)
        os.mkfifo(copy / name)
        with pytest.raises(saeviz.DataError, match=f"{name} is not a regular file"):
            build(kind, copy).extract_from_image(GREY)


@pytest.mark.parametrize("away", ["../weights.safetensors", "/etc/passwd", "a/b.safetensors"])
def test_an_index_of_weights_names_files_beside_it_only(vit_folder, build, tmp_path, away):
    folder = shutil.copytree(vit_folder, tmp_path / "sharded")
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"embeddings.cls_token": away}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(saeviz.DataError, match=r"model\.safetensors\.index\.json names .* does not lie beside it"):
        build("vit", folder).extract_from_image(GREY)


def test_the_text_tower_of_another_model_is_not_fetched_behind_the_users_back(clip_folder, evil, build):
    folder = evil(clip_folder, "open_clip_config.json", "model_cfg", "text_cfg", hf_model_name="owner/evil")
    with pytest.raises(saeviz.DataError, match=r"hf_model_name: owner/evil .*run.offline is set"):
        build("clip", folder).embed_texts(["a"])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("It is no model. Please set `trust_remote_code=True` to run it.", "It is no model."),
        ("weights_only=True blocked it. Retry with weights_only=False.", "ValueError"),
        ("\nOffline. Set HF_HUB_OFFLINE=0 and try again.", "Offline."),
        ("size mismatch for a.weight", "size mismatch for a.weight"),
    ],
)
def test_no_librarys_advice_to_switch_a_safeguard_off_is_passed_on(text, left):
    assert first_line(ValueError(text)) == left
