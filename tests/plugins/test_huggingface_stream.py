"""The image provider `huggingface` with `stream = true`: Parquet files in a folder, of which nothing is held."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.testing import DividesIntoShardsContract
from saeviz.toolkit import parquet_stream
from saeviz_huggingface import HuggingFaceOptions
from saeviz_huggingface.streamed import StreamedImages, open_images
from tests.hostile_server import picture

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
COLOURS = ["red", "green", "blue"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    monkeypatch.setattr(parquet_stream, "FEWEST_ROWS", 2)
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path):
    """A data set of two files, the picture of the last row in a file beside them."""
    (tmp_path / "art" / "data").mkdir(parents=True)
    (tmp_path / "art" / "blue.png").write_bytes(picture("blue"))
    for number, colours in enumerate((["red", "green"], ["red", "blue"])):
        data = datasets.Dataset.from_dict(
            {
                "picture": [{"bytes": picture(colour), "path": None} for colour in colours],
                "liking": [1.5, None],
                "kind": [0, -1],
                "tags": [[0, 1], []],
                "code": [f"{number}a", f"{number}b"],
            },
            features=datasets.Features(
                picture=datasets.Image(),
                liking=datasets.Value("float64"),
                kind=datasets.ClassLabel(names=["cat", "dog"]),
                tags=datasets.List(datasets.ClassLabel(names=["sea", "sky"])),
                code=datasets.Value("string"),
            ),
        )
        data.to_parquet(str(tmp_path / "art" / "data" / f"train-{number:05}-of-00002.parquet"))
    return tmp_path / "art"


def provide(path, **options) -> StreamedImages:
    return open_images(HuggingFaceOptions(path=str(path), stream=True, **options), saeviz.Context())


class TestStreamedHuggingFace(DividesIntoShardsContract):
    n_images = 4

    @pytest.fixture
    def provider(self, folder):
        provider = provide(folder)
        yield provider
        provider.close()


class TestStreamedHuggingFaceWithIds(DividesIntoShardsContract):
    n_images = 4

    @pytest.fixture
    def provider(self, folder):
        provider = provide(folder, item_column="code")
        yield provider
        provider.close()


def test_rows_are_read_as_without_streaming(folder):
    streamed = list(provide(folder, item_column="code", multi_labels=("tags",), min_images=1).iter_images())
    whole = HuggingFaceOptions(path=str(folder), item_column="code", multi_labels=("tags",), min_images=1)
    for one, other in zip(streamed, open_images(whole, saeviz.Context()).iter_images(), strict=True):
        assert (one.item_id, one.ratings, one.metadata) == (other.item_id, other.ratings, other.metadata)
        assert one.read_bytes() == other.read_bytes()
    assert dict(streamed[0].ratings) == {"liking": 1.5, "tags=sea": 1.0, "tags=sky": 1.0}
    assert dict(streamed[0].metadata) == {"kind": "cat"}


def test_an_id_is_the_file_and_the_row(folder):
    provider = provide(folder)
    assert [item.item_id for item in provider.iter_images()] == [
        f"data/train-0000{number}-of-00002/{row}" for number in (0, 1) for row in (0, 1)
    ]
    assert provider.get_image("data/train-00001-of-00002/1").read_bytes() == picture("blue")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"split": "dev"}, r"images\.split: .* has no split 'dev'; it has train"),
        ({"image_column": "kind"}, r"images\.image_column: 'kind' is not one of them; images are in picture"),
        ({"item_column": "name"}, r"images\.item_column: art has no column 'name'"),
    ],
)
def test_what_the_data_set_does_not_have(folder, options, reason):
    with pytest.raises(saeviz.SaevizError, match=reason):
        list(provide(folder, **options).iter_images())


def test_what_is_not_streamed(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(picture())
    with pytest.raises(saeviz.DataError, match=r"images\.stream: only Parquet is streamed, not a\.png; remove stream"):
        list(provide(tmp_path / "pictures").iter_images())
    datasets.Dataset.from_dict({"a": [1]}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(saeviz.DataError, match="is from save_to_disk, which is read from the disk row by row"):
        list(provide(tmp_path / "saved").iter_images())
    with pytest.raises(ValueError, match="a part of a split is not streamed; write split = 'train' and run with"):
        HuggingFaceOptions(path="owner/art", split="train[:10]", stream=True)
