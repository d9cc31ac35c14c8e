from __future__ import annotations

import json
import logging
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.testing import EmbeddingProviderContract
from saeviz.testing.data import pictures
from saeviz_timm import TimmOptions
from saeviz_timm.embeddings import TimmEmbeddings

SHARED = Path(__file__).parents[3] / "shared"
EFFICIENTNET = SHARED / "models" / "efficientnet-lite0"
OFFLINE = saeviz.Context(device="cpu", offline=True, place="embeddings")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny convolutional network with random weights, saved as the models of the hub are."""
    import timm
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("timm") / "model"
    tiny = timm.create_model("test_efficientnet", num_classes=10).eval()
    timm.models.save_for_hf(tiny, folder, safe_serialization=True)
    return folder


@pytest.fixture
def copy(model, tmp_path):
    """The folder of the model, to be damaged."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((model / name).read_bytes())
    return folder


def embeddings(model, context=OFFLINE, **options):
    return TimmEmbeddings(TimmOptions(model=str(model), **{"engine": "torch", **options}), context)


class TestContract(EmbeddingProviderContract):
    @pytest.fixture
    def make(self, model):
        return lambda context: embeddings(model, context, batch_size=3)


def test_the_file_with_the_weights_is_known_before_it_is_read(model):
    provider = embeddings(model)
    assert isinstance(provider, saeviz.HasModelFiles)
    assert provider.model_files() == [model / "model.safetensors"]


def test_gives_the_pooled_features_before_the_classifier(model):
    import timm
    import torch

    reference = timm.create_model(f"local-dir:{model}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=reference))
    items = pictures(3)
    with torch.inference_mode():
        pixels = torch.stack([transform(item.open()) for item in items])
        expected = reference.forward_features(pixels).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(embeddings(model).embed(items), expected, rtol=1e-4, atol=1e-5)


def test_the_classifier_does_not_matter(model, copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"] += 5
    save_file(weights, copy / "model.safetensors")
    np.testing.assert_array_equal(embeddings(copy).embed(pictures(2)), embeddings(model).embed(pictures(2)))


def test_the_length_is_known_without_the_weights(model, copy):
    (copy / "model.safetensors").unlink()
    assert embeddings(copy).dim == embeddings(model).dim == embeddings(model).embed(pictures(1)).shape[1]


def test_the_length_is_that_of_the_features_where_a_head_widens_them(tmp_path):
    import timm

    wide = timm.create_model("mobilenetv3_small_050", num_classes=2)
    timm.models.save_for_hf(wide, tmp_path, safe_serialization=True)
    embedder = embeddings(tmp_path)
    assert embedder.dim == 1024 != wide.num_features
    assert embedder.embed(pictures(1)).shape == (1, 1024)


def test_sixteen_bit_and_transparent_pictures_are_seen_as_an_eye_sees_them(model):
    from PIL import Image

    def saved(image):
        buffer = BytesIO()
        image.save(buffer, "png")
        return saeviz.ImageItem(f"{image.mode} {len(buffer.getvalue())}", buffer.getvalue())

    grey = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))
    opaque = Image.fromarray(np.dstack([grey, grey, grey]))
    see_through = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    see_through.paste(opaque, (0, 0), Image.fromarray(np.full((64, 64), 255, np.uint8)))
    white = Image.new("RGB", (64, 64), "white")
    rows = embeddings(model).embed(
        [
            saved(opaque),
            saved(Image.fromarray(grey.astype(np.uint16) * 257)),
            saved(see_through),
            saved(white),
            saved(Image.new("RGBA", (64, 64), (255, 0, 0, 0))),
        ]
    )
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(rows[2], rows[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(rows[4], rows[3], rtol=1e-3, atol=1e-4)
    assert np.abs(rows[0] - rows[3]).max() > 1e-3


def test_bfloat16_is_close_to_float32_and_comes_as_float32(model):
    precise = embeddings(model).embed(pictures(2))
    fast = embeddings(model, saeviz.Context(device="cpu", precision="bfloat16")).embed(pictures(2))
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - precise).max() < 0.05 * np.abs(precise).max()


def test_a_name_is_looked_for_where_timm_keeps_its_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(saeviz.DataError, match=r"timm/resnet18\.a1_in1k.*offline.*config\.json, model\.safetensors"):
        _ = embeddings("resnet18").dim


def test_the_default_is_a_model_that_timm_has():
    import timm

    assert timm.is_model_pretrained(TimmOptions().model)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "'resnet19' is neither a folder nor a timm model; did you mean resnet18"),
        ("qqqqqqqq", "'qqqqqqqq' is neither a folder nor a timm model$"),
        ("resnet18.imagenet", r"'resnet18.imagenet' has no such weights; known: resnet18\.a1_in1k"),
        ("vit_tiny_patch16_224_in_dreams", "did you mean vit_tiny_patch16_224"),
    ],
)
def test_a_name_that_timm_does_not_know(name, message):
    with pytest.raises(saeviz.ConfigError, match=rf"embeddings\.model: .*{message}"):
        _ = embeddings(name).dim


def test_a_folder_that_is_not_there():
    with pytest.raises(saeviz.DataError, match=r"embeddings\.model: no file or folder \./absent"):
        _ = embeddings("./absent").dim


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named_with_all_that_is_needed(copy, name):
    (copy / name).unlink()
    with pytest.raises(saeviz.DataError, match=rf"has no {name} .*config\.json, model\.safetensors"):
        embeddings(copy).embed(pictures(1))


def test_a_pickle_is_never_opened(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(saeviz.DataError, match=r"has no model\.safetensors"):
        embeddings(copy).embed(pictures(1))


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "{}",
        '{"architecture": "no_such_model", "num_classes": 3, "pretrained_cfg": {}}',
        '{"pretrained_cfg": 3}',
    ],
)
def test_a_config_that_is_none(copy, config):
    (copy / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"embeddings\.model: .*copy cannot be loaded"):
        _ = embeddings(copy).dim


def test_weights_that_are_none_or_of_another_model(copy):
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(saeviz.DataError, match=r"copy cannot be loaded"):
        embeddings(copy).embed(pictures(1))


def test_weights_that_do_not_fit_the_config(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"architecture": "test_resnet"}), encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"copy cannot be loaded .*matching files"):
        embeddings(copy).embed(pictures(1))


@pytest.fixture(scope="module")
def photographs():
    return [saeviz.ImageItem(path.stem, path) for path in sorted((SHARED / "oasis" / "images").glob("*.jpg"))[::12]]


@pytest.fixture(scope="module")
def rows(photographs):
    return embeddings(EFFICIENTNET).embed(photographs)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
class TestRealModel:
    def test_different_photographs_are_as_alike_as_measured(self, rows):
        """Over all pairs of all 659 the mean cosine is .2329, its standard deviation .0791 (the model's README)."""
        assert rows.shape == (55, 1280)
        assert (rows >= 0).all()
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
        assert cosines.mean() == pytest.approx(0.2329, abs=0.03)
        assert cosines.std() == pytest.approx(0.0791, abs=0.02)

    def test_equals_the_architecture_loaded_by_its_name(self, photographs, rows):
        import timm
        import torch

        weights = EFFICIENTNET / "model.safetensors"
        reference = timm.create_model("tf_efficientnet_lite0", checkpoint_path=weights).eval()
        transform = timm.data.create_transform(
            input_size=(3, 224, 224), crop_pct=0.875, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
        )
        with torch.inference_mode():
            pixels = torch.stack([transform(item.open()) for item in photographs[:4]])
            expected = reference.global_pool(reference.forward_features(pixels)).numpy()
        np.testing.assert_allclose(rows[:4], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_openvino_gives_the_same_in_batches_of_any_size(model, engine):
    items = pictures(7)
    expected = embeddings(model).embed(items)
    embedder = embeddings(model, engine=engine, batch_size=4)
    assert embedder.provenance == {"engine": None}
    for n in (7, 1, 3):
        found = embedder.embed(items[:n])
        np.testing.assert_allclose(found, expected[:n], atol=1e-5 * np.abs(expected).max())
    assert isinstance(embedder, saeviz.HasProvenance)
    assert embedder.provenance["engine"].startswith("openvino 20")


def test_bfloat16_on_openvino_is_close_to_float32(model):
    context = saeviz.Context(device="cpu", precision="bfloat16")
    precise, fast = (
        embeddings(model).embed(pictures(2)),
        embeddings(model, context, engine="openvino").embed(pictures(2)),
    )
    assert fast.dtype == np.float32
    assert 0 < np.abs(fast - precise).max() < 0.1 * np.abs(precise).max()


def test_says_nothing_on_the_console(model, capfd, caplog):
    with caplog.at_level(logging.WARNING, logger="saeviz"):
        embeddings(model).embed(pictures(2))
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
