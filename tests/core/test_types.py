"""The values: checked where they are made."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array

import saeviz
from saeviz import Feature, FeatureBatch, FeatureSpace, ImageItem, ScoreColumn
from saeviz.values import decoding

SPACE = FeatureSpace(11, "cls", 4)


def png(image: Image.Image, **details) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "png", **details)
    return buffer.getvalue()


def test_spaces_and_features_are_written_and_read():
    assert str(SPACE) == "layer11.cls"
    assert FeatureSpace.parse("layer11.cls", 4) == SPACE
    assert str(SPACE.feature(3)) == "layer11.cls/3"
    assert Feature.parse("layer7.patch-max/12") == Feature(7, "patch-max", 12)


@pytest.mark.parametrize(
    ("text", "space", "site"),
    [
        ("layer11.cls", FeatureSpace(11, "cls", 4), 11),
        ("text.layer11.eot", FeatureSpace(11, "eot", 4, "text"), "text.layer11"),
        ("stage3.patch-max", FeatureSpace("stage3", "patch-max", 4), "stage3"),
        (
            "convnext-large.stage3.frame-max",
            FeatureSpace("stage3", "frame-max", 4, "convnext-large"),
            "convnext-large.stage3",
        ),
    ],
)
def test_a_space_may_have_a_name_a_stage_and_any_kind_of_tokens(text, space, site):
    assert str(space) == text
    assert FeatureSpace.parse(text, 4) == space
    assert Feature.parse(f"{text}/3") == space.feature(3)
    assert str(space.feature(3)) == f"{text}/3"
    assert space.feature(3) in space
    assert (space.site, space.feature(3).site) == (site, site)


def test_spaces_and_features_sort_by_name_then_numbered_layers_before_stages():
    spaces = [
        FeatureSpace(2, "cls", 4),
        FeatureSpace(11, "cls", 4),
        FeatureSpace(11, "patch-max", 4),
        FeatureSpace("stage1", "cls", 4),
        FeatureSpace(0, "cls", 4, "mlp"),
    ]
    backwards = spaces[::-1]
    assert sorted(backwards) == spaces
    features = [space.feature(index) for space in spaces for index in (0, 3)]
    backwards = features[::-1]
    assert sorted(backwards) == features


@pytest.mark.parametrize(
    "text",
    [
        "layer11",
        "11.cls",
        "layer11.cls",
        "layer11.cls/",
        "layer11.cls/-1",
        "layer11.Cls/3",
        "a.b.layer1.cls/3",
        "../layer1.cls/3",
        ".layer1.cls/3",
        "layer1.cls/٣",
    ],
)
def test_what_is_not_a_feature_is_refused(text):
    with pytest.raises(saeviz.DataError, match="is not a feature"):
        Feature.parse(text)


@pytest.mark.parametrize(
    "given", [(1, 5, 4), (1.5, "cls", 4), (True, "cls", 4), (1, "cls", 4.5), (1, "cls", 4, 5), (1, "cls", 4, ["x"])]
)
def test_the_parts_of_a_space_are_of_their_kind(given):
    with pytest.raises(saeviz.DataError):
        FeatureSpace(*given)


@pytest.mark.parametrize(
    ("layer", "tokens", "n"),
    [
        (-1, "cls", 4),
        (2**31, "cls", 4),
        (1, "", 4),
        (1, "No se", 4),
        (1, "../cls", 4),
        ("layer3", "cls", 4),
        ("../x", "cls", 4),
        (1, "cls", 0),
        (1, "cls", 2**31),
    ],
)
def test_there_are_no_other_spaces(layer, tokens, n):
    with pytest.raises(saeviz.DataError):
        FeatureSpace(layer, tokens, n)


def test_a_batch_is_float32_sorted_and_without_stored_zeros():
    matrix = csr_array(
        (np.array([1.0, 0.0, 2.0, 3.0]), np.array([3, 0, 1, 1]), np.array([0, 2, 4])), shape=(2, 4), dtype=np.float64
    )
    batch = FeatureBatch(SPACE, ("a", "b"), matrix)
    assert batch.matrix.dtype == np.float32
    assert batch.matrix.has_canonical_format
    assert batch.matrix.toarray().tolist() == [[0, 0, 0, 1], [0, 5, 0, 0]]
    assert batch.matrix.nnz == 2
    assert matrix.nnz == 4, "the matrix that was given is left alone"


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        (("a",), [[0, 1, 2]], "shape"),
        (("a", "b"), [[0, 1, 2, 3]], "shape"),
        (("a", "a"), [[1, 0, 0, 0]] * 2, "unique"),
        (("",), [[1, 0, 0, 0]], "not be empty"),
        (("\ud800",), [[1, 0, 0, 0]], "lone surrogate"),
        (("a", "b"), [[1, 0, 0, 0], [0, np.nan, 0, 0]], "item 'b' has features that are not finite"),
        (("a",), [[0, np.inf, 0, 0]], "item 'a'"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(ids, values, message):
    with pytest.raises(saeviz.DataError, match=message):
        FeatureBatch(SPACE, ids, csr_array(np.array(values, dtype=np.float32)))


def test_an_item_opens_files_bytes_and_functions_alike(tmp_path):
    image = Image.new("RGB", (4, 3), (10, 20, 30))
    (tmp_path / "x.png").write_bytes(png(image))
    for source in (tmp_path / "x.png", png(image), lambda: image):
        assert ImageItem("x", source).open().getpixel((0, 0)) == (10, 20, 30)


def test_a_picture_is_upright_and_keeps_its_mode():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert ImageItem("x", png(Image.new("P", (4, 3)), exif=exif)).open().size == (3, 4)
    assert ImageItem("x", png(Image.new("I;16", (4, 3)))).open().mode == "I;16"


@pytest.mark.parametrize("content", [b"", b"not a picture", png(Image.new("RGB", (64, 64)))[:60]])
def test_a_broken_picture_is_an_image_error_that_names_it(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    for source in (content, tmp_path / "bad.png"):
        with pytest.raises(saeviz.ImageError, match="'the id'") as error:
            ImageItem("the id", source).open()
        assert "0x" not in str(error.value)


def test_a_decompression_bomb_is_not_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(
        saeviz.ImageError, match=r"more than 20 pixels, as a decompression bomb has, .* make it smaller"
    ):
        ImageItem("bomb", png(Image.new("L", (64, 64)))).open()


def test_a_large_picture_that_is_read_is_not_warned_of(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with warnings.catch_warnings(record=True) as warned:
        warnings.resetwarnings()
        decoding.formats.cache_clear()  # as in a new process
        assert ImageItem("large", png(Image.new("L", (64, 64)))).open().size == (64, 64)
    assert warned == []


def test_a_warning_that_is_an_error_concerns_the_picture(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    item = ImageItem("large", png(Image.new("L", (64, 64))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(saeviz.ImageError, match="more than 3,000 pixels"):
            item.open()


def test_the_fingerprint_changes_with_the_picture(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"one")
    before = ImageItem("x", path).fingerprint
    path.write_bytes(b"other")
    assert ImageItem("x", path).fingerprint != before
    assert ImageItem("x", b"one").fingerprint != ImageItem("x", b"two").fingerprint
    assert ImageItem("x", Path("/nowhere.png")).fingerprint == "missing"
    assert ImageItem("x", lambda: Image.new("L", (1, 1)), version="drawn 2").fingerprint == "drawn 2"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_rating_is_a_finite_number_or_absent(value):
    with pytest.raises(saeviz.DataError, match="'joy' is not a finite number"):
        ImageItem("x", b"", ratings={"joy": value})


def test_a_score_has_a_value_per_feature():
    with pytest.raises(saeviz.DataError, match="shape"):
        ScoreColumn("s", SPACE, np.zeros(3))
    with pytest.raises(saeviz.DataError, match="neither numbers nor text"):
        ScoreColumn("s", SPACE, np.array([object()] * 4))
    assert ScoreColumn("s", SPACE, np.array(["a", "", "b", "c"])).values.tolist() == ["a", "", "b", "c"]


@pytest.mark.parametrize("n_parts", [0, 1, 3])
def test_matrices_of_a_space_are_stacked_however_many_there_are(n_parts):
    space = saeviz.FeatureSpace(7, "cls", 4)
    rows = np.arange(4.0 * n_parts).reshape(n_parts, 4)

    stacked = space.stack(csr_array(row[None]) for row in rows)
    assert stacked.shape == (n_parts, 4)
    np.testing.assert_array_equal(stacked.toarray(), rows)
    assert len(saeviz.FeatureBatch(space, tuple(map(str, range(n_parts))), stacked)) == n_parts
