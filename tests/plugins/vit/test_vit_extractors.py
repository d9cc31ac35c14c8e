"""Both extractors from picture to sparse batch, against NumPy and the libraries' own activations."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import saeviz
from saeviz import ConfigError, DataError, ImageItem
from saeviz.testing import FeatureExtractorContract
from saeviz_vit import ClipOptions, VitOptions
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.vit import VitExtractor
from tests.plugins.vit.conftest import write_sae
from tests.plugins.vit.runs import Failures, collect, context, vit_states


@pytest.fixture(params=["clip", "vit"])
def build(request, saes):
    """Makes the extractor, for tests that both must pass."""
    folder = request.getfixturevalue(f"{request.param}_folder")

    def build(context=None, **options):
        context = context or saeviz.Context(device="cpu")
        options = {"saes": saes, "layers": [0, 2], "engine": "torch", **options}
        if request.param == "clip":
            return ClipExtractor(ClipOptions(clip_checkpoint=folder, **options), context)
        return VitExtractor(VitOptions(model=folder, **options), context)

    build.folder, build.kind = folder, request.param
    return build


class TestContract(FeatureExtractorContract):
    @pytest.fixture(params=["clip", "vit"])
    def make(self, request, tmp_path):
        folder, sae = (
            request.getfixturevalue(f"{request.param}_folder"),
            write_sae(tmp_path, hook_point_layer=0),
        )
        options = {"saes": {0: sae}, "layers": [0], "engine": "torch", "tokens": ["cls", "patch-max"], "batch_size": 2}
        if request.param == "clip":
            return lambda context: ClipExtractor(ClipOptions(clip_checkpoint=folder, **options), context)
        return lambda context: VitExtractor(VitOptions(model=folder, **options), context)


def clip_states(folder: Path, images) -> list[torch.Tensor]:
    """Outputs of all blocks of the tiny CLIP, from plain hooks on a model of our own."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    states = []
    for block in model.eval().visual.transformer.resblocks:
        block.register_forward_hook(lambda _m, _i, output: states.append(output))
    with torch.no_grad():
        model.visual(torch.stack([transform(item.open()) for item in images]))
    return states


def reference(build, images, make) -> dict[str, np.ndarray]:
    states = {"clip": clip_states, "vit": vit_states}[build.kind](build.folder, images)
    expected = {}
    for layer in (0, 2):
        n, n_tokens, width = states[layer].shape
        features, _ = make.encode(states[layer].reshape(-1, width), make.weights(layer))
        features = features.reshape(n, n_tokens, -1)
        expected[f"layer{layer}.cls"] = features[:, 0]
        expected[f"layer{layer}.patch-max"] = features[:, 1:].max(1)
        expected[f"layer{layer}.patch-mean"] = features[:, 1:].mean(1)
    return expected


# -- what comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_every_space_equals_the_reference(build, images, make, engine):
    extractor = build(tokens=["patch-max", "cls", "patch-mean"], batch_size=4, engine=engine)
    found = collect(extractor.extract(images))
    expected = reference(build, images, make)

    assert [str(space) for space in extractor.spaces] == list(found)
    assert [str(space) for space in extractor.spaces][:3] == ["layer0.patch-max", "layer0.cls", "layer0.patch-mean"]
    for space, (ids, rows) in found.items():
        assert ids == [item.item_id for item in images]
        np.testing.assert_allclose(rows, expected[space], atol=2e-4)
        assert 0 < (rows > 0).mean() < 1


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("tokens", [["cls"], ["cls", "patch-max"]])
def test_results_do_not_depend_on_the_batch_size(build, images, tokens, engine):
    one, many = (collect(build(tokens=tokens, batch_size=n, engine=engine).extract(images)) for n in (1, 8))
    for space in one:
        np.testing.assert_allclose(one[space][1], many[space][1], atol=2e-5)


@pytest.mark.parametrize("layers", [[0], [2], [0, 1, 2]])
def test_the_class_token_alone_is_what_it_is_beside_the_patches(build, images, layers):
    for engine in ("torch", "openvino"):
        alone = collect(build(tokens=["cls"], layers=layers, engine=engine).extract(images))
        beside = collect(build(tokens=["cls", "patch-max"], layers=layers).extract(images))
        assert list(alone) == [f"layer{layer}.cls" for layer in layers]
        for space, (ids, rows) in alone.items():
            assert ids == beside[space][0]
            np.testing.assert_allclose(rows, beside[space][1], atol=2e-5)


def test_the_files_of_the_models_are_known_before_anything_is_loaded(build):
    files = build().model_files()
    assert len(files) == len(set(files)) >= 2
    assert all(path.is_file() and path.stat().st_size > 1000 for path in files)


def test_the_manifest_learns_what_ran(build, images):
    for engine, name in (
        ("auto", "openvino 20"),
        ("openvino", "openvino 20"),
        ("torch", f"torch {torch.__version__[:4]}"),
    ):
        extractor = build(engine=engine)
        assert extractor.provenance["engine"] is None
        list(extractor.extract(images[:1]))
        assert extractor.provenance["engine"].startswith(name)


def test_features_that_jump_are_left_to_torch(build, images, make, tmp_path, caplog):
    """Where two engines round differently another feature can be among the largest k."""
    sae = make.sae(tmp_path, make.weights(1), activation_fn_str="topk", activation_fn_kwargs={"k": 3})
    with caplog.at_level("INFO", logger="saeviz"):
        list(build(saes={1: sae}, layers=[1], engine="openvino").extract(images[:2]))
    runs_on = [message for message in caplog.messages if " runs on " in message]
    assert runs_on[0].startswith("extractor.engine: the model runs on openvino")
    assert runs_on[1].startswith("extractor.engine: the SAE of layer 1 runs on torch")


def test_activations_are_what_the_saes_read(build, images):
    """Class tokens as they are, patches as their mean; a picture that cannot be read leaves a row of NaN."""
    failures = Failures()
    extractor = build(context(failed=failures), batch_size=2)
    assert isinstance(extractor, saeviz.HasActivations)
    state = {"clip": clip_states, "vit": vit_states}[build.kind](build.folder, images)[2].numpy()
    broken = [images[0], ImageItem("broken", b"no picture"), *images[1:]]

    cls = extractor.activations(broken, saeviz.FeatureSpace(2, "cls", 1))
    patches = extractor.activations(images, saeviz.FeatureSpace(2, "patch-max", 1))

    assert cls.dtype == patches.dtype == np.float32
    assert np.isnan(cls[1]).all()
    assert [subject for subject, _ in failures] == ["broken"]
    np.testing.assert_allclose(np.delete(cls, 1, axis=0), state[:, 0], atol=2e-5)
    np.testing.assert_allclose(patches, state[:, 1:].mean(1), atol=2e-5)


def test_the_decoder_has_a_direction_for_every_feature(build, make):
    extractor = build()
    assert isinstance(extractor, saeviz.HasDecoder)
    for space in extractor.spaces:
        np.testing.assert_array_equal(extractor.decoder(space), make.weights(space.layer)["W_dec"].numpy())


def test_a_model_without_class_token_is_noticed_by_every_engine(build, images, monkeypatch):
    tokens = type(build()).tokens

    def patches_only(self, model, pixels, points):
        return [grid.patches for grid in tokens(self, model, pixels, points)]

    monkeypatch.setattr(type(build()), "tokens", patches_only)
    for engine in ("torch", "openvino"):
        with pytest.raises(DataError, match=r"extractor\.tokens: this vision model has no class token"):
            list(build(engine=engine).extract(images))


def test_each_chunk_gives_every_space_with_the_same_images(build, images):
    batches = list(build(tokens=["cls", "patch-max"], batch_size=4).extract(iter(images)))
    chunks = [batches[i : i + 4] for i in range(0, len(batches), 4)]
    assert [len(chunk[0]) for chunk in chunks] == [4, 4, 3]
    for chunk in chunks:
        assert len({batch.item_ids for batch in chunk}) == 1
        assert len({batch.space for batch in chunk}) == 4


@pytest.mark.parametrize("top_k", [None, 9])
def test_patches_that_are_pooled_in_parts_give_the_same(build, images, make, tmp_path, monkeypatch, top_k):
    kind = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": top_k}} if top_k else {}
    sae = make.sae(tmp_path, make.weights(1), **kind)
    options = {"tokens": ["patch-max", "patch-mean"], "layers": [1], "saes": {1: sae}}
    whole = collect(build(**options).extract(images))
    for name, size in (("CACHED_TOKENS", 1), ("CACHED_FEATURES", 100), ("CHUNK_VALUES", 1)):
        monkeypatch.setattr(f"saeviz.toolkit.tokens.pooling.{name}", size)
    for engine in ("torch", "openvino"):
        for space, (_, rows) in collect(build(**options, engine=engine).extract(images)).items():
            np.testing.assert_allclose(rows, whole[space][1], atol=2e-5)


def test_a_broken_image_is_reported_and_the_rest_goes_on(build, images):
    failed = Failures()
    broken = [ImageItem("no picture", b"\x00" * 9), ImageItem("gone", Path("nowhere.png"))]
    ids, _ = collect(build(context(failed=failed), batch_size=3).extract([*broken, *images]))["layer0.cls"]
    assert ids == [item.item_id for item in images]
    assert [subject for subject, _ in failed] == ["no picture", "gone"]
    assert all("cannot be read" in error for _, error in failed)


def test_a_picture_like_a_thread_is_reported_before_it_fills_the_memory(build):
    from PIL import Image

    failed = Failures()
    thread = ImageItem("thread", lambda: Image.new("RGB", (30_000, 1)))
    assert list(build(context(failed=failed)).extract([thread])) == []
    ((subject, error),) = failed
    assert subject == "thread"
    assert "30000 x 1 is too long and narrow" in error


def test_16_bit_greyscale_is_not_clipped_to_white(build):
    from PIL import Image

    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    wide = Image.fromarray(values.astype(np.uint16))
    narrow = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    white = Image.new("L", (64, 64), 255)
    rows = [build().extract_from_image(image).features for image in (wide, narrow, white)]
    np.testing.assert_allclose(rows[0], rows[1], atol=0.05)
    assert not np.allclose(rows[0], rows[2], atol=0.05)


def test_no_images_loads_no_model(build, monkeypatch):
    extractor = build()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("weights were read"))
    assert list(extractor.extract([])) == []


def test_spaces_need_no_weights(saes, clip_folder, vit_folder, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("open_clip_config.json", "config.json"):
        source = clip_folder if (clip_folder / name).exists() else vit_folder
        shutil.copy(source / name, folder)
    shutil.copy(Path(saes["1"]) / "config.json", tmp_path)
    options = {"saes": {1: tmp_path}, "layers": [1]}
    for extractor in (
        ClipExtractor(ClipOptions(clip_checkpoint=folder, **options), context()),
        VitExtractor(VitOptions(model=folder, **options), context()),
    ):
        assert [(space.layer, space.tokens, space.n_features) for space in extractor.spaces] == [(1, "cls", 256)]
        with pytest.raises(DataError, match=r"has no (weights\.pt|open_clip_model|model\.safe)"):
            list(extractor.extract([ImageItem("a", b"")]))


def test_pixels_are_those_of_open_clips_own_transform_to_the_last_bit(clip_folder, saes, images):
    import open_clip
    from PIL import Image

    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes, layers=[0]), context())
    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    values = np.arange(56 * 56 * 3, dtype=np.uint32).reshape(56, 56, 3)
    every_value = Image.fromarray((values * 7 % 256).astype(np.uint8))
    for image in (every_value, *(item.open() for item in images)):
        found, expected = extractor.transform(image), transform(image)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


# -- blocks that are not asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "in_the_last"), [(["cls"], 1), (["cls", "patch-max"], None)])
def test_what_no_output_needs_is_not_computed(build, images, tokens, in_the_last):
    """Blocks behind the last layer are left out, and open_clip's last one is computed for the class token alone."""
    from torch.nn.modules.module import register_module_forward_hook

    extractor = build(layers=[0, 1], tokens=tokens)
    extractor.extract_from_image(images[0])
    seen = []

    def count_tokens(module, inputs, _output):
        if "GELU" in type(module).__name__:
            seen.append(inputs[0].shape[1])

    handle = register_module_forward_hook(count_tokens)
    list(extractor.extract(images))
    handle.remove()
    n_tokens = 50 if build.kind == "clip" else 17
    assert seen == [n_tokens, in_the_last if build.kind == "clip" and in_the_last else n_tokens]


@pytest.mark.parametrize("n", [1, 50])
def test_activations_with_tokens_first_are_noticed_even_in_a_batch_as_large_as_the_tokens(
    clip_folder, saes, images, monkeypatch, n
):
    from open_clip.transformer import VisionTransformer

    forward = VisionTransformer.forward_intermediates

    def tokens_first(self, *args, **options):
        return {
            name: [states.transpose(0, 1) for states in found]
            for name, found in forward(self, *args, **options).items()
        }

    monkeypatch.setattr(VisionTransformer, "forward_intermediates", tokens_first)
    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes, layers=[1], batch_size=n), context())
    with pytest.raises(saeviz.PluginError, match=r"activations of shape \(49, 1, 64\) instead of \(1, 49, 64\)"):
        list(extractor.extract([images[0]] * n))


def test_open_clip_leaves_the_logging_of_the_process_alone(clip_folder, saes, images, monkeypatch):
    import logging

    monkeypatch.setattr(logging.root, "handlers", [])
    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes, layers=[1]), context())
    extractor.embed_texts(["a"])
    assert extractor.extract_from_image(images[0]).num_active
    assert logging.root.handlers == []


def test_one_file_instead_of_a_folder(build, images, saes, make):
    as_files = {layer: str(Path(folder) / "weights.pt") for layer, folder in saes.items()}
    one, other = (collect(build(saes=table).extract(images[:2])) for table in (saes, as_files))
    for space in one:
        np.testing.assert_array_equal(one[space][1], other[space][1])


def test_the_other_published_file_name(build, images, saes, make, tmp_path):
    folder = make.sae(tmp_path, make.weights(1), file="n_images_2600058.pt")
    table = ({1: folder}, {1: saes["1"]})
    rows = [collect(build(saes=saes_, layers=[1]).extract(images[:2]))["layer1.cls"][1] for saes_ in table]
    np.testing.assert_array_equal(*rows)


def test_the_documents_formula_and_bfloat16_are_options(build, images):
    rows = {
        name: collect(build(**options).extract(images))["layer2.cls"][1]
        for name, options in {
            "published": {},
            "document": {"formula": "document"},
            "bfloat16": {"precision": "bfloat16"},
            "run": {"context": context(precision="bfloat16")},
        }.items()
    }
    assert np.abs(rows["document"] - rows["published"]).mean() > 0.05
    np.testing.assert_array_equal(rows["bfloat16"], rows["run"])
    assert 0 < np.abs(rows["bfloat16"] - rows["published"]).max() < 0.5


# -- one image ----------------------------------------------------------------------------------------------------


def test_one_image_by_itself(build, images, make, tmp_path):
    extractor = build(tokens=["patch-max"])
    image = images[0].open()
    image.save(tmp_path / "one.png")
    expected = reference(build, images[:1], make)["layer2.cls"][0]

    assert isinstance(extractor, saeviz.SingleImageExtractor)
    for source in (image, images[0], tmp_path / "one.png", str(tmp_path / "one.png")):
        result = extractor.extract_from_image(source, top_k=5)
        np.testing.assert_allclose(result.features, expected, atol=2e-4)
        assert str(result.space) == "layer2.cls"
        assert result.num_active == (result.features > 0).sum()
        assert list(result.top_indices) == sorted(range(make.d_sae), key=lambda i: -result.features[i])[:5]
        np.testing.assert_array_equal(result.top_values, result.features[result.top_indices])


def test_top_indices_hold_active_features_only(build, images):
    result = build().extract_from_image(images[0], top_k=10_000)
    assert len(result.top_indices) == result.num_active < result.features.size
    assert (result.top_values > 0).all()


def test_reconstruction_of_one_image(build, images, make):
    states = {"clip": clip_states, "vit": vit_states}[build.kind](build.folder, images[:1])
    _, expected = make.encode(states[0][:, 0], make.weights(0))
    found = build().extract_from_image(images[0], layer=0).reconstruct()
    np.testing.assert_allclose(found, expected[0], atol=2e-3)


def errors_of(extractor, images):
    found: dict[str, list[float]] = {}
    for batch in extractor.extract(images):
        found.setdefault(str(batch.space), []).extend(batch.of_images.get("reconstruction_error", ()))
    return found


@pytest.mark.parametrize("size", [2, 64])
def test_how_badly_each_image_is_reconstructed(build, images, make, size):
    """For the class token of each image, whatever batch it is in; patches are decoded only on request."""
    states = {"clip": clip_states, "vit": vit_states}[build.kind](build.folder, images)
    x = np.asarray(states[0], np.float64)
    _, estimate = make.encode(x, make.weights(0))
    baseline = make.weights(0)["b_dec"].double().numpy()
    error, worst = (((x - one) ** 2).sum(-1) for one in (estimate, baseline))
    options = {"layers": [0], "tokens": ["cls", "patch-max"], "batch_size": size}
    found = errors_of(build(**options), images)
    np.testing.assert_allclose(found["layer0.cls"], error[:, 0] / worst[:, 0], rtol=1e-3)
    assert found["layer0.patch-max"] == []
    found = errors_of(build(**options, patch_errors=True), images)
    np.testing.assert_allclose(found["layer0.patch-max"], error[:, 1:].sum(1) / worst[:, 1:].sum(1), rtol=1e-3)
    np.testing.assert_allclose(found["layer0.cls"], error[:, 0] / worst[:, 0], rtol=1e-3)


@pytest.mark.parametrize("architecture", ["relu", "top-k"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_decoding_patches_leaves_features_as_they_are(vit_folder, make, images, tmp_path, architecture, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    k = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}} if architecture == "top-k" else {}
    folder = make.sae(tmp_path, make.weights(0), hook_point_layer=0, **k)
    options = {"model": vit_folder, "saes": {"0": folder}, "layers": [0], "engine": engine}
    tokens = ["patch-mean", "patch-max"]
    plain, decoded = (
        collect(VitExtractor(VitOptions(**options, tokens=tokens, patch_errors=on), context()).extract(images))
        for on in (False, True)
    )
    for space, (ids, rows) in plain.items():
        assert decoded[space][0] == ids
        np.testing.assert_allclose(decoded[space][1], rows, atol=1e-6)
    extractor = VitExtractor(VitOptions(**options, tokens=tokens, patch_errors=True), context())
    states = np.asarray(vit_states(vit_folder, images)[0][:, 1:], np.float64)
    _, estimate = make.encode(states.reshape(-1, make.width), make.weights(0), k=5 if k else None)
    error = ((states - estimate.reshape(states.shape)) ** 2).sum((1, 2))
    worst = ((states - make.weights(0)["b_dec"].double().numpy()) ** 2).sum((1, 2))
    for errors in errors_of(extractor, images).values():
        np.testing.assert_allclose(errors, error / worst, rtol=1e-3)


def test_where_a_feature_fires(build, images, make):
    spatial = build().extract_spatial(images[3], layer=0)
    side = 7 if build.kind == "clip" else 4
    assert spatial.features.shape == (side * side, make.d_sae)
    expected = reference(build, images[3:4], make)["layer0.patch-max"][0]
    for feature in range(0, make.d_sae, 37):
        heat = spatial.heatmap(feature)
        assert heat.shape == (side, side)
        assert heat.max() == pytest.approx(expected[feature], abs=2e-4)


def test_patches_are_row_major(clip_folder, saes):
    """A lone bright patch in the second row, last column, is where the picture differs from a black one."""
    from PIL import Image

    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes, layers=[0]), context())
    black = Image.new("RGB", (56, 56))
    marked = black.copy()
    marked.paste((255, 255, 255), (48, 8, 56, 16))
    difference = np.abs(extractor.extract_spatial(marked).features - extractor.extract_spatial(black).features).sum(1)
    assert np.unravel_index(difference.argmax(), (7, 7)) == (1, 6)


def test_a_layer_that_is_not_configured(build, images):
    with pytest.raises(ConfigError, match=r"layer 1 is not among extractor\.layers = \[0, 2\]"):
        build().extract_from_image(images[0], layer=1)


def test_an_unreadable_single_image(build):
    with pytest.raises(saeviz.ImageError, match="nowhere"):
        build().extract_spatial(Path("nowhere.png"))


# -- words --------------------------------------------------------------------------------------------------------


def test_images_and_texts_in_one_space(clip_folder, saes, images):
    import open_clip

    failed = Failures()
    extractor = ClipExtractor(
        ClipOptions(clip_checkpoint=clip_folder, saes=saes, layers=[0], batch_size=4), context(failed=failed)
    )
    assert isinstance(extractor, saeviz.TextAligned)
    found = extractor.embed_images([images[0], ImageItem("bad", b""), *images[1:]])
    texts = extractor.embed_texts(["a red square", "stripes", ""])

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(["a red square", "stripes", ""])
    with torch.no_grad():
        pixels = torch.stack([transform(item.open()) for item in images])
        expected = model.eval().encode_image(pixels, normalize=True).numpy()
        np.testing.assert_allclose(texts, model.encode_text(tokens, normalize=True).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.delete(found, 1, axis=0), expected, atol=1e-5)
    assert np.isnan(found[1]).all()
    assert [subject for subject, _ in failed] == ["bad"]
    assert found.dtype == texts.dtype == np.float32
    assert extractor.embed_images([]).shape == extractor.embed_texts([]).shape == (0, 32)


def test_more_texts_than_one_batch(clip_folder, saes, monkeypatch):
    monkeypatch.setattr("saeviz_vit.clip.TEXTS_PER_BATCH", 2)
    extractor = ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, saes=saes, layers=[0]), context())
    words = ["one", "two", "three", "four", "five"]
    together = extractor.embed_texts(words)
    np.testing.assert_allclose(together, np.concatenate([extractor.embed_texts([word]) for word in words]), atol=1e-5)
