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
