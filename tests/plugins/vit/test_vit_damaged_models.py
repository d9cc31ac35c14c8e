"""Model folders in which every file can be read, but that no picture can be put through."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import saeviz
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.options import ClipOptions, VitOptions
from saeviz_vit.vit import VitExtractor

CPU = saeviz.Context(device="cpu", offline=True)


@pytest.fixture
def vit(vit_folder, make, tmp_path):
    """A folder to be damaged, and what extracts from it."""
    folder = shutil.copytree(vit_folder, tmp_path / "tiny")
    sae = make.sae(tmp_path / "sae", hook_point_layer=1)

    def extract(images, **options):
        extractor = VitExtractor(VitOptions(model=folder, saes={1: sae}, engine="torch", **options), CPU)
        return list(extractor.extract(images))

    return folder, extract


@pytest.mark.parametrize("centre_crop", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"height": 0, "width": 0}},
        {"size": {"height": -8, "width": -8}},
        {"size": {"height": 10**9, "width": 10**9}},
        {"image_mean": [0.5, 0.5]},
        {"image_mean": None},
        {"image_std": [0, 0, 0]},
        {"rescale_factor": float("nan")},
    ],
    ids=str,
)
def test_settings_by_which_no_picture_can_be_read_are_a_sentence(vit, images, settings, centre_crop):
    folder, extract = vit
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"^extractor: .*tiny"):
        extract(images, centre_crop=centre_crop)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_weights_that_are_no_numbers_are_refused(vit, images, value):
    from safetensors.torch import load_file, save_file

    folder, extract = vit
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if "layer.0" in name and name.endswith("weight"))
    weights[name].view(-1)[0] = float(value)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(saeviz.DataError, match=r"^extractor: .*tiny"):
        extract(images)


def test_weights_of_clip_that_are_no_numbers_are_refused(clip_folder, make, images, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "tiny")
    weights = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    weights["visual.conv1.weight"].view(-1)[0] = float("nan")
    torch.save(weights, folder / "open_clip_pytorch_model.bin")
    options = ClipOptions(clip_checkpoint=folder, saes={1: make.sae(tmp_path / "sae", hook_point_layer=1)}, layers=(1,))
    with pytest.raises(saeviz.DataError, match=r"^extractor: .*tiny"):
        list(ClipExtractor(options, CPU).extract(images))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"num_hidden_layers": 10**7}, r"num_hidden_layers = 10000000, but no model has more than 1000 blocks"),
        ({"num_hidden_layers": 10**4000}, r"num_hidden_layers = a number of about \S+ digits, but no model"),
    ],
    ids=["blocks", "digits"],
)
def test_a_model_larger_than_its_weights_is_not_built(vit, images, sizes, said):
    folder, extract = vit
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sizes), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=rf"^extractor\.model: .*config\.json is refused: it says .*{said}"):
        extract(images)


@pytest.mark.parametrize("sizes", [{"intermediate_size": 100}, {"image_size": 64}, {"patch_size": 4}], ids=str)
def test_weights_of_other_shapes_are_said_without_advice(vit, images, sizes):
    folder, extract = vit
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sizes), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"extractor\.model: .*weights have other shapes than config\.json says"):
        extract(images)


@pytest.mark.parametrize("tower", ["vision_cfg", "text_cfg"])
@pytest.mark.parametrize("sizes", [{"layers": 10**7}, {"width": 20_000}], ids=str)
def test_nor_a_clip(clip_folder, images, make, tmp_path, tower, sizes):
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"][tower] |= sizes
    path.write_text(json.dumps(config), encoding="utf-8")
    sae = make.sae(tmp_path / "sae", hook_point_layer=1)
    options = ClipOptions(clip_checkpoint=folder, saes={1: sae}, layers=(1,), engine="torch")
    with pytest.raises(
        saeviz.DataError, match=r"^extractor\.clip_checkpoint: .*open_clip_config\.json is refused: it says"
    ):
        list(ClipExtractor(options, CPU).extract(images))
