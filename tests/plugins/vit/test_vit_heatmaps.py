"""Where features fire: on the right pixels, the same by the cheap way and by the full one, and finer than patches."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import saeviz
from saeviz import ConfigError, DataError, ImageError
from saeviz.toolkit.tokens import TokenExtractor, TokenGrid
from saeviz_vit.clip import ClipExtractor
from saeviz_vit.options import ClipOptions, VitOptions
from saeviz_vit.vit import VitExtractor

FINER = 5
LETTERBOX = {"resize_mode": "longest"}
CROPPING = {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}


def context() -> saeviz.Context:
    return saeviz.Context(device="cpu")


class Bright:
    """Instead of a transformer: every token says how bright its patch is, in its first number."""

    def tokens(self, model, pixels, points):
        means = torch.nn.functional.avg_pool2d(pixels.mean(1), self.patch(points[0]))
        states = torch.nn.functional.pad(means[..., None], (0, self.info.width - 1))
        return [TokenGrid(states, torch.zeros(len(pixels), self.info.width)) for _ in points]


class BrightClip(Bright, ClipExtractor):
    """With the transform of a real open_clip model."""


class BrightVit(Bright, VitExtractor):
    """With the image processor of a real transformers model."""


@pytest.fixture(scope="module")
def bright_sae(make, tmp_path_factory):
    """Feature 0 is the brightness, high enough never to be cut off by the ReLU; the others are silent."""
    weights = {name: torch.zeros_like(tensor) for name, tensor in make.weights().items()}
    weights["W_enc"][0, 0], weights["b_enc"][0] = 1.0, 4.0
    return make.sae(tmp_path_factory.mktemp("bright") / "sae", weights=weights)


@pytest.fixture(scope="module")
def bright(clip_folder, vit_folder, bright_sae, tmp_path_factory):
    """Brightness extractors: `bright("clip")` crops 56 of the short edge, `bright("vit", **CROPPING)` 32 of 40, ..."""
    import shutil

    def make_bright(kind: str, batch_size: int = 32, **preprocessing) -> TokenExtractor:
        folder = tmp_path_factory.mktemp(kind) / "tiny"
        shutil.copytree(clip_folder if kind == "clip" else vit_folder, folder)
        file = folder / ("open_clip_config.json" if kind == "clip" else "preprocessor_config.json")
        config = json.loads(file.read_text())
        (config["preprocess_cfg"] if kind == "clip" else config).update(preprocessing)
        file.write_text(json.dumps(config))
        common = {"saes": {1: bright_sae}, "layers": [1], "batch_size": batch_size}
        if kind == "clip":
            return BrightClip(ClipOptions(clip_checkpoint=folder, **common), context())
        return BrightVit(VitOptions(model=folder, **common), context())

    return make_bright


def picture_with(box, size, inside=255, outside=0) -> Image.Image:
    """A bright box, at whole pixels, on a dark picture."""
    image = Image.new("L", size, outside)
    image.paste(inside, tuple(round(edge) for edge in box))
    return image.convert("RGB")


def cell(box, rows, cols, row, col):
    """Left, top, right, bottom of a cell of a map."""
    left, top, right, bottom = box
    width, height = (right - left) / cols, (bottom - top) / rows
    return left + col * width, top + row * height, left + (col + 1) * width, top + (row + 1) * height


KINDS = {
    "clip crops the middle": ("clip", {}),
    "clip pads": ("clip", LETTERBOX),
    "clip squeezes": ("clip", {"resize_mode": "squash"}),
    "vit crops the middle": ("vit", CROPPING),
    "vit squeezes": ("vit", {}),
    "vit with a rest of pixels": ("vit", {**CROPPING, "crop_size": {"height": 37, "width": 35}}),
}
SIZES = [(640, 480), (480, 640), (301, 997), (1000, 333), (500, 500)]


class TestGeometry:
    @pytest.mark.parametrize("size", SIZES, ids=str)
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_bright_box_lights_up_the_cell_that_lies_on_it(self, bright, kind, size):
        name, preprocessing = KINDS[kind]
        extractor = bright(name, **preprocessing)
        box = extractor.field_of_view(picture_with((0, 0, 1, 1), size))
        rows, cols = extractor.heatmaps([picture_with((0, 0, 1, 1), size)], 1, [0])[0, 0].shape
        hidden = 0
        for row, col in [(0, 0), (rows - 1, cols - 1), (rows // 2, 1), (1, cols // 2)]:
            left, top, right, bottom = cell(box, rows, cols, row, col)
            if left < 0 or top < 0 or right > size[0] or bottom > size[1]:
                hidden += 1
                continue
            image = picture_with((left, top, right, bottom), size)
            heat = extractor.heatmaps([image], 1, [0])[0, 0]
            contrast = (heat - heat.min()) / np.ptp(heat)
            assert np.unravel_index(heat.argmax(), heat.shape) == (row, col)
            around = contrast.copy()
            around[row, col] = 0
            assert around.max() < 0.15, "nothing of it lies on a neighbour but what resizing smears"
        assert hidden == 0 or "pads" in kind

    @pytest.mark.parametrize(
        ("kind", "size", "box"),
        [
            ("clip crops the middle", (640, 480), (80, 0, 560, 480)),
            ("clip crops the middle", (480, 640), (0, 80, 480, 560)),
            ("clip pads", (560, 280), (0, -140, 560, 420)),
            ("clip squeezes", (640, 480), (0, 0, 640, 480)),
            ("vit crops the middle", (800, 400), (240, 40, 560, 360)),
            ("vit squeezes", (640, 480), (0, 0, 640, 480)),
            ("vit with a rest of pixels", (400, 400), (20, 10, 340, 330)),
        ],
    )
    def test_the_field_of_view(self, bright, kind, size, box):
        """Of 40 pixels 35 or 37 in the middle, of which the patches of 8 cover 32 from the left and from the top."""
        name, preprocessing = KINDS[kind]
        noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        found = bright(name, **preprocessing).field_of_view(Image.fromarray(noise))
        assert found == pytest.approx(box, abs=0.51 * size[1] / 40)

    def test_half_pixels_are_rounded_as_the_model_rounds_them(self, bright):
        """97 of 333 pixels high: which of the two middles was cropped shows in the pixels alone."""
        rng = np.random.default_rng(0)
        for width in range(300, 340, 3):
            image = Image.fromarray(rng.integers(0, 256, (97, width, 3), dtype=np.uint8))
            extractor = bright("clip")
            left, _, right, _ = extractor.field_of_view(image)
            resized = image.resize((int(56 * width / 97), 56), Image.Resampling.BICUBIC)
            start = round((resized.width - 56) / 2)
            assert left == pytest.approx(start * width / resized.width)
            assert right == pytest.approx((start + 56) * width / resized.width)

    def test_a_transform_that_takes_another_part_is_refused(self, bright, monkeypatch):
        extractor = bright("clip")
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 200, 3), dtype=np.uint8))
        original = ClipExtractor.transform
        monkeypatch.setattr(ClipExtractor, "transform", lambda self, image: original(self, image).flip(-1))
        with pytest.raises(DataError, match="does not crop the middle of the picture, so it has no heatmaps"):
            extractor.field_of_view(noise)


@pytest.fixture(params=["clip", "vit"])
def build(request, clip_folder, vit_folder, make, tmp_path):
    """Extractors with real miniature transformers: `build(batch_size=2, activation_fn_str="topk", ...)`."""

    def make_extractor(batch_size: int = 32, tokens: str = "patch-max", **sae):
        saes = {0: make.sae(tmp_path / "sae0", hook_point_layer=0, **sae)}
        common = {"saes": saes, "layers": [0], "batch_size": batch_size, "tokens": [tokens]}
        if request.param == "clip":
            return ClipExtractor(ClipOptions(clip_checkpoint=clip_folder, **common), context())
        return VitExtractor(VitOptions(model=vit_folder, **common), context())

    return make_extractor


FEATURES = [3, 250, 0, 77, 3]
SAES = {
    "relu": {},
    "top-k": {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 16}},
    "layer norm": {"normalize_activations": "layer_norm"},
    "patches only": {"use_patches_only": True},
}


@pytest.mark.parametrize("sae", SAES)
def test_chosen_features_are_those_of_all(build, images, sae):
    extractor = build(**SAES[sae])
    spatial = [extractor.extract_spatial(image, 0) for image in images[:3]]
    features = [*FEATURES, int(spatial[0].features.sum(0).argmax())]
    found = extractor.heatmaps(images[:3], 0, features)
    assert found.dtype == np.float32
    assert found[0, -1].any()
    expected = np.stack([[one.heatmap(feature) for feature in features] for one in spatial])
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)


def test_a_fine_map_has_the_plain_values_in_the_middle_of_patches(build, images):
    extractor = build()
    plain, fine = (extractor.heatmaps(images[:3], 0, FEATURES, fine=fine) for fine in (False, True))
    assert fine.shape == (*plain.shape[:2], FINER * plain.shape[2], FINER * plain.shape[3])
    np.testing.assert_allclose(fine[:, :, 2::FINER, 2::FINER], plain, atol=2e-5, rtol=1e-5)
    assert not np.allclose(fine[:, :, 3::FINER, 2::FINER], plain, atol=1e-2)


@pytest.mark.parametrize("fine", [False, True])
def test_maps_do_not_depend_on_what_else_is_in_the_batch(build, images, fine):
    together = build(batch_size=7).heatmaps(images, 0, FEATURES, fine)
    for index in (0, 4, len(images) - 1):
        alone = build(batch_size=1).heatmaps([images[index]], 0, FEATURES[1:2], fine)
        np.testing.assert_allclose(together[index, 1], alone[0, 0], atol=2e-5, rtol=1e-5)


def test_items_pictures_and_files_are_the_same(build, images, tmp_path):
    images[0].open().save(tmp_path / "one.png")
    extractor = build()
    maps = extractor.heatmaps([images[0], images[0].open(), tmp_path / "one.png"], 0, [5])
    np.testing.assert_allclose(maps[1:], maps[:1].repeat(2, 0), atol=2e-5)
    assert extractor.field_of_view(images[0]) == extractor.field_of_view(tmp_path / "one.png")


def test_no_images_and_no_features(build, images):
    assert build().heatmaps([], 0, [1, 2]).shape[:2] == (0, 2)
    assert build().heatmaps(images[:2], 0, []).shape[:2] == (2, 0)


class TestRefusals:
    def test_an_sae_of_the_class_token_only(self, build, images):
        extractor = build(tokens="cls", cls_token_only=True)
        for fine in (False, True):
            with pytest.raises(DataError, match=r"saes\.0 was trained on the class token only, so it says nothing"):
                extractor.heatmaps(images[:1], 0, [0], fine)

    def test_unknown_features_and_layers(self, build, images, make):
        for feature in (-1, make.d_sae):
            with pytest.raises(ConfigError, match=f"layer 0 has 256 features, so there is no feature {feature}"):
                build().heatmaps(images[:1], 0, [0, feature])
        with pytest.raises(ConfigError, match="layer 5 is not among"):
            build().heatmaps(images[:1], 5, [0])

    def test_an_image_that_cannot_be_read(self, build, images):
        broken = saeviz.ImageItem("broken", b"no picture")
        for call in (partial(build().heatmaps, [images[0], broken], 0, [0]), partial(build().field_of_view, broken)):
            with pytest.raises(ImageError, match="'broken' cannot be read"):
                call()


class TestCommandLine:
    """From a run with a class-token space to the picture."""

    @pytest.fixture
    def command(self, saeviz_command, vit_folder, make, tmp_path):
        def after_a_run(*arguments, **sae):
            noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
            (tmp_path / "images").mkdir()
            Image.fromarray(noise).save(tmp_path / "images" / "noise.png")
            folder = make.sae(tmp_path / "sae", hook_point_layer=0, **sae)
            (tmp_path / "noise.toml").write_text(
                '[run]\ndir = "runs/noise"\ndevice = "cpu"\n[images]\npath = "images"\n'
                f'[extractor]\nuse = "vit-sae"\nmodel = "{vit_folder}"\nlayers = [0]\nsaes = {{ 0 = "{folder}" }}\n'
            )
            assert saeviz_command("run", "noise.toml", "--until", "extract").code == saeviz.ExitCode.DONE
            return saeviz_command("heatmap", *arguments)

        return after_a_run

    def test_the_map_of_a_class_token_feature(self, command):
        ended = command("layer0.cls/3", "noise.png", "--fine")
        assert ended.code == saeviz.ExitCode.DONE, ended
        with Image.open("heatmap.png") as picture:
            assert picture.size == (600, 400 + 28)
        assert sum("layer0.cls/3" in line for line in ended.err.splitlines()) == 1
        assert "where the same SAE feature fires on patches" in ended.err

    def test_none_for_an_sae_of_the_class_token_only(self, command):
        ended = command("layer0.cls/3", "noise.png", cls_token_only=True)
        assert "was trained on the class token only, so it says nothing about patches" in ended.err
        assert ended.code == saeviz.ExitCode.FAILED


def centroid(heat, box):
    """Where the map's excess over its least value lies, in pixels of the picture."""
    weights = heat - heat.min()
    rows, cols = heat.shape
    x = box[0] + (np.arange(cols) + 0.5) / cols * (box[2] - box[0])
    y = box[1] + (np.arange(rows) + 0.5) / rows * (box[3] - box[1])
    return np.array([(weights.sum(0) * x).sum(), (weights.sum(1) * y).sum()]) / weights.sum()


class TestFine:
    def test_a_small_object_is_found_where_it_is(self, bright):
        """A dot of 1/16 of a patch, in 448 x 448 pixels of which a patch takes 64."""
        extractor = bright("clip")
        rng = np.random.default_rng(0)
        places = rng.uniform(80, 368, (30, 2)).round()
        dots = [picture_with((x - 8, y - 8, x + 8, y + 8), (448, 448)) for x, y in places]
        errors = {}
        for fine in (False, True):
            found = [centroid(heat[0], (0, 0, 448, 448)) for heat in extractor.heatmaps(dots, 1, [0], fine)]
            errors[fine] = np.linalg.norm(found - places, axis=1)
        assert errors[True].mean() < 0.4 * errors[False].mean()
        assert errors[True].max() < 64 / 5

    def test_a_cell_is_the_patch_around_its_centre(self, bright):
        """Whatever the shift: brightness averaged over a patch of 8 pixels, at places that whole pixels allow."""
        extractor = bright("vit")
        pixels = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
        fine = extractor.heatmaps([Image.fromarray(pixels).convert("RGB")], 1, [0], fine=True)[0, 0]
        for row in range(2, 18):
            for col in range(2, 18):
                top, left = (8 * (n // 5) + [-3, -2, 0, 2, 3][n % 5] for n in (row, col))
                expected = pixels[top : top + 8, left : left + 8].mean() / 127.5 - 1 + 4
                assert fine[row, col] == pytest.approx(expected, abs=1e-5)

    def test_beyond_the_crop_comes_the_rest_of_the_picture(self, bright):
        """80 x 40 pixels, of which the 32 x 32 in the middle are seen; a stripe right beside them."""
        stripe = picture_with((56, 0, 80, 40), (80, 40))
        plain, fine = (bright("vit", **CROPPING).heatmaps([stripe], 1, [0], fine)[0, 0] for fine in (False, True))
        assert np.ptp(plain) == 0
        assert (np.diff(fine[:, -3:], axis=1) > 0).all()
        assert np.ptp(fine[:, :-2]) == 0

    def test_beyond_the_picture_its_edge_goes_on(self, bright):
        for kind, preprocessing in [("clip", {}), ("clip", LETTERBOX), ("vit", {})]:
            extractor = bright(kind, **preprocessing)
            even = extractor.heatmaps([Image.new("RGB", (64, 64), (200, 200, 200))], 1, [0], fine=True)
            assert np.ptp(even) < 1e-5
        halves = picture_with((0, 0, 32, 64), (64, 64))
        fine = bright("vit").heatmaps([halves], 1, [0], fine=True)[0, 0]
        assert np.ptp(fine[:, :5]) < 1e-5
        assert np.ptp(fine[:, -5:]) < 1e-5

    def test_it_takes_25_windows_an_image(self, bright, monkeypatch):
        passes = []
        run = Bright.tokens

        def counted(self, model, pixels, points):
            passes.append(len(pixels))
            return run(self, model, pixels, points)

        monkeypatch.setattr(Bright, "tokens", counted)
        bright("clip", batch_size=10).heatmaps([Image.new("RGB", (64, 64))] * 3, 1, [0], fine=True)
        assert passes == [1, *[10] * 7, 5], "one to try the model, then full batches across images"


def test_a_fine_map_of_a_real_model_finds_dots_better(shared):
    """A real vision transformer and a real top-k SAE; the dots are drawn, so where they are is known."""
    from PIL import ImageDraw

    rng = np.random.default_rng(0)
    places = np.array([(56 + 72 * x, 56 + 72 * y) for y in range(3) for x in range(3)]) + rng.uniform(-12, 12, (9, 2))
    image = Image.new("RGB", (256, 256), (90, 90, 90))
    for x, y in places:
        ImageDraw.Draw(image).ellipse((x - 4, y - 4, x + 4, y + 4), fill=(250, 240, 200))
    models = shared / "models"
    options = VitOptions(model=models / "vit-s14", saes={8: models / "sae-vit-s14-block8"}, batch_size=8)
    extractor = VitExtractor(options, context())
    assert extractor.field_of_view(image) == (16, 16, 240, 240)

    spatial = extractor.extract_spatial(image)
    centres = 16 + 14 * (np.indices((16, 16)).reshape(2, -1).T[:, ::-1] + 0.5)
    near = np.linalg.norm(centres[:, None] - places, axis=-1).min(1) < 14
    feature = int((spatial.features[near].sum(0) - 2 * spatial.features[~near].sum(0)).argmax())
    error = {}
    for fine in (False, True):
        heat = extractor.heatmaps([image], 8, [feature], fine)[0, 0]
        middle = 16 + (np.arange(len(heat)) + 0.5) * 224 / len(heat)
        found = []
        for x, y in places:
            around = heat * (abs(middle - y) < 28)[:, None] * (abs(middle - x) < 28)
            found.append([(around.sum(0) * middle).sum(), (around.sum(1) * middle).sum()] / around.sum())
        error[fine] = np.linalg.norm(found - places, axis=1).mean()
    assert error[True] < 0.5 * error[False]
    assert error[True] < 14 / 5 / 2, "within half a fine cell on average"


def test_chosen_features_of_a_jumprelu_sae_keep_their_own_thresholds():
    import torch

    from saeviz.toolkit.sae import SAE, SAEConfig, SAEWeights

    generator = torch.Generator().manual_seed(0)
    weights = SAEWeights(
        torch.randn(8, 32, generator=generator),
        torch.zeros(32),
        torch.randn(32, 8, generator=generator),
        torch.randn(8, generator=generator),
        torch.rand(32, generator=generator) * 4,
    )
    config = SAEConfig(
        model_name="m", layer=0, hook="hook_resid_post", d_in=8, d_sae=32, trained_on="all", normalization=None, k=None
    )
    sae = SAE(config, weights, formula="published", device=torch.device("cpu"))
    x = torch.randn(50, 8, generator=generator)
    chosen = [31, 0, 7]
    expected = sae.encode(x)[:, chosen]
    assert (expected > 0).any()
    assert not torch.equal(expected, (x @ weights.W_enc)[:, chosen].relu())
    torch.testing.assert_close(sae.encode_only(x, chosen), expected)
