"""The image provider `huggingface`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

import saeviz
from saeviz.testing import ImageProviderContract
from saeviz.testing.loopback import Loopback
from saeviz_huggingface import HuggingFaceOptions
from saeviz_huggingface.provider import HuggingFaceImages
from tests.datasets_hub import Hub
from tests.hostile_server import picture

datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
COLOURS = ["red", "green", "blue"]
RGB = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets-cache")
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path):
    """Pictures in the layout `imagefolder`, the last one without a rating."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        (folder / f"{number}.png").write_bytes(picture(colour))
    (folder / "metadata.csv").write_text("file_name,liking,title\n0.png,1.5,first\n1.png,2,second\n2.png,,third\n")
    return folder


def rows(**columns) -> datasets.Dataset:
    """A data set whose pictures are inside, with further columns."""
    images = [{"bytes": picture(colour), "path": None} for colour in COLOURS]
    features = {"picture": datasets.Image(), **{name: feature for name, (feature, _) in columns.items()}}
    values = {name: cells for name, (_, cells) in columns.items()}
    return datasets.Dataset.from_dict({"picture": images, **values}, features=datasets.Features(features))


@pytest.fixture
def saved(tmp_path):
    """The three pictures inside a data set that was saved to disk."""
    number, text = datasets.Value("float64"), datasets.Value("string")
    data = rows(
        liking=(number, [1.0, 2.0, None]),
        title=(text, ["a", None, "c"]),
        kind=(datasets.ClassLabel(names=["cat", "dog"]), [0, 1, -1]),
        seen=(datasets.Value("bool"), [True, False, True]),
        tags=(datasets.List(text), [["x"], [], ["y"]]),
        raw=(datasets.Value("binary"), [b"1", b"2", b"3"]),
        code=(text, ["x", "../y", "z"]),
    )
    data.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def provide(path, *, offline=False, **options) -> HuggingFaceImages:
    return HuggingFaceImages(HuggingFaceOptions(path=str(path), **options), saeviz.Context(offline=offline))


def colours(provider) -> list[tuple[int, int, int]]:
    return [item.open().convert("RGB").getpixel((0, 0)) for item in provider.iter_images()]


def ids(provider) -> list[str]:
    return [item.item_id for item in provider.iter_images()]


class TestImageFolder(ImageProviderContract):
    n_images = 3

    @pytest.fixture
    def provider(self, folder):
        return provide(folder)


class TestSaved(ImageProviderContract):
    n_images = 3

    @pytest.fixture
    def provider(self, saved):
        return provide(saved, item_column="code")


def test_a_folder_of_pictures_gives_its_files(folder):
    items = list(provide(folder).iter_images())
    assert [item.source for item in items] == [folder / f"{n}.png" for n in range(3)]
    assert [dict(item.ratings) for item in items] == [{"liking": 1.5}, {"liking": 2.0}, {}]
    assert [dict(item.metadata) for item in items] == [{"title": "first"}, {"title": "second"}, {"title": "third"}]


def test_pictures_inside_a_data_set(saved):
    items = list(provide(saved).iter_images())
    assert [item.item_id for item in items] == ["0", "1", "2"]
    assert colours(provide(saved)) == [RGB[colour] for colour in COLOURS]
    assert items[1].source.read_bytes() == picture("green")
    assert [dict(item.ratings) for item in items] == [{"liking": 1.0}, {"liking": 2.0}, {}]
    assert dict(items[0].metadata) == {"title": "a", "kind": "cat", "seen": "True", "code": "x"}
    assert "kind" not in items[2].metadata


def test_parquet_files(tmp_path):
    (tmp_path / "parquet").mkdir()
    rows(liking=(datasets.Value("int64"), [3, 4, 5])).to_parquet(str(tmp_path / "parquet" / "train-00000.parquet"))
    provider = provide(tmp_path / "parquet", split="train[1:]")
    assert colours(provider) == [RGB["green"], RGB["blue"]]
    assert [item.ratings["liking"] for item in provider.iter_images()] == [4, 5]


def test_a_data_set_dictionary(tmp_path):
    both = datasets.DatasetDict({"train": rows(), "test": rows().select([2])})
    both.save_to_disk(str(tmp_path / "both"))
    assert colours(provide(tmp_path / "both", split="test")) == [RGB["blue"]]
    with pytest.raises(saeviz.DataError, match=r"images\.split: .*no split 'dev'; it has train, test"):
        ids(provide(tmp_path / "both", split="dev"))


def test_rows_that_were_reordered_before_they_were_saved(tmp_path):
    rows().select([2, 0]).save_to_disk(str(tmp_path / "saved"))
    assert colours(provide(tmp_path / "saved")) == [RGB["blue"], RGB["red"]]


def test_the_fingerprint_stays_with_the_data_and_changes_with_it(saved, tmp_path):
    before = [item.fingerprint for item in provide(saved).iter_images()]
    assert before == [item.fingerprint for item in provide(saved).iter_images()]
    assert len(set(before)) == 3
    rows().map(lambda row: row).save_to_disk(str(tmp_path / "other"))
    assert not set(before) & {item.fingerprint for item in provide(tmp_path / "other").iter_images()}


def test_a_row_without_a_picture_fails_by_itself(tmp_path):
    images = [{"bytes": picture(), "path": None}, None]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": images}, features=features).save_to_disk(str(tmp_path / "saved"))
    good, empty = provide(tmp_path / "saved").iter_images()
    assert good.open().size == (8, 6)
    with pytest.raises(saeviz.ImageError, match=r"'1' cannot be read: row 1 has no picture"):
        empty.open()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_column": "liking"}, r"images\.image_column: 'liking' is not one of them; images are in picture"),
        ({"item_column": "titl"}, r"images\.item_column: saved has no column 'titl'; did you mean 'title'\?"),
        ({"item_column": "title"}, r"images\.item_column: row 1 has nothing in 'title'"),
        ({"item_column": "seen"}, r"images\.item_column: rows 0 and 2 are both called 'True'"),
        ({"rating_columns": ("title",)}, r"images\.rating_columns: 'title' of saved has no numbers"),
        ({"rating_columns": ("tags",)}, r"images\.rating_columns: saved has no column 'tags'"),
    ],
)
def test_mistakes(saved, options, says):
    with pytest.raises(saeviz.ConfigError if "row" not in says or "rating" in says else saeviz.DataError, match=says):
        ids(provide(saved, **options))


def test_two_columns_with_images(tmp_path):
    images = [{"bytes": picture(), "path": None}]
    features = datasets.Features({"one": datasets.Image(), "two": datasets.Image()})
    datasets.Dataset.from_dict({"one": images, "two": images}, features=features).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(saeviz.ConfigError, match=r"images\.image_column: say which one; images are in one, two"):
        ids(provide(tmp_path / "d"))
    assert ids(provide(tmp_path / "d", image_column="two")) == ["0"]


def test_what_cannot_be_loaded(folder, tmp_path):
    with pytest.raises(saeviz.DataError, match=r"images\.path: no folder \./none"):
        ids(provide("./none"))
    with pytest.raises(saeviz.DataError, match=r"pictures cannot be loaded: Unknown split \"dev\""):
        ids(provide(folder, split="dev"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(saeviz.DataError, match=r"empty cannot be loaded"):
        ids(provide(tmp_path / "empty"))


def test_pictures_of_a_report_are_no_images(folder):
    run = folder / "runs" / "one"
    (run / "report").mkdir(parents=True)
    (run / "run.json").write_text('{"format": 1, "stages": {}}')
    with pytest.raises(saeviz.DataError, match=r"has a run directory of saeviz in it .*runs/one.*keep runs elsewhere"):
        list(provide(folder).iter_images())


def test_no_code_of_a_data_set_is_run(tmp_path):
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(saeviz.DataError):
        ids(provide(folder))
    assert not (tmp_path / "ran").exists()


# -- the hub ------------------------------------------------------------------------------------------------------

ASK = """
import saeviz, sys, time, datasets
time.sleep = lambda seconds: None
datasets.disable_progress_bars()
offline, *more = sys.argv[1:]
options = dict(pair.split("=") for pair in more)
if "stream" in options:
    options["stream"] = options["stream"] == "true"
provider = saeviz.component("images", "huggingface", path="owner/art",
                            context=saeviz.Context(offline=offline == "offline"), **options)
try:
    for item in provider.iter_images():
        try:
            print(item.item_id, item.open().convert("RGB").getpixel((0, 0)), dict(item.ratings))
        except saeviz.ImageError as error:
            print("left out:", error)
except saeviz.SaevizError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hub(tmp_path):
    """Asks a hub on this machine for the data set owner/art in a process of its own; gives the lines that it prints."""
    secret = tmp_path / "private.png"
    secret.write_bytes(picture("white"))
    served = tmp_path / "served" / "owner" / "art" / "data"
    served.mkdir(parents=True)
    data = rows(liking=(datasets.Value("float64"), [1.0, 2.0, None]))
    data.to_parquet(str(served / "train-00000-of-00001.parquet"))
    server = Loopback(Hub, root=tmp_path / "served")

    def ask(*words: str) -> list[str]:
        ours = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-c", ASK, *words]
        done = subprocess.run(command, env={**os.environ, **ours}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    ask.server, ask.served, ask.secret = server, served, secret
    yield ask
    server.close()


THREE = ["0 (255, 0, 0) {'liking': 1.0}", "1 (0, 128, 0) {'liking': 2.0}", "2 (0, 0, 255) {}"]


def test_a_url_is_refused_and_not_quoted():
    with pytest.raises(saeviz.ConfigError, match=r"a URL is not accepted because it may contain a password") as caught:
        saeviz.component("images", "huggingface", path="https://alice:hunter2@host/art")
    assert "hunter2" not in str(caught.value)


@pytest.mark.slow
def test_a_data_set_of_the_hub_and_again_without_the_hub(hub):
    assert hub("online") == THREE
    hub.server.close()
    assert hub("offline") == THREE


@pytest.mark.slow
def test_a_streamed_data_set_of_the_hub_is_not_downloaded(hub, tmp_path):
    assert hub("online", "stream=true") == [f"data/train-00000-of-00001/{line}" for line in THREE]
    assert not list((tmp_path / "hf").rglob("*.parquet")) + list((tmp_path / "hf").rglob("*.arrow"))
    (line,) = hub("offline", "stream=true")
    assert "DataError images.stream: owner/art is on the hub; run.offline is set" in line
    (line,) = hub("online", "stream=true", "split=dev")
    assert line == "DataError images.split: owner/art has no split 'dev'; it has train"


@pytest.mark.slow
def test_offline_asks_nobody(hub):
    (line,) = hub("offline")
    assert "it must be a folder, or in the cache of datasets, since run.offline is set" in line


@pytest.mark.slow
def test_what_the_hub_does_not_have(hub):
    (line,) = hub("online", "split=dev")
    assert 'DataError images.path: owner/art cannot be loaded: Unknown split "dev"' in line


@pytest.mark.slow
def test_a_data_set_of_the_hub_names_no_file_of_this_machine(hub):
    images = [{"bytes": None, "path": str(hub.secret)}, {"bytes": picture(), "path": None}]
    features = datasets.Features({"image": datasets.Image()})
    data = datasets.Dataset.from_dict({"image": images}, features=features)
    import pyarrow.parquet as pq

    pq.write_table(data.data.table, hub.served / "train-00000-of-00001.parquet")
    first, second = hub("online")
    assert first.startswith("left out: image '0' cannot be read")
    assert second.startswith("1 (255, 0, 0)")
    first, second = hub("online", "stream=true")
    assert first.endswith("row 1 has no picture, but names a file, which a data set from the hub may not")
    assert second.startswith("data/train-00000-of-00001/1 (255, 0, 0)")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:{port}/a.parquet", "zip://a.csv::http://127.0.0.1:{port}/a.zip"])
@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
def test_a_folder_does_not_have_data_fetched_from_elsewhere(folder, name, address):
    with socket.create_server(("127.0.0.1", 0)) as host:
        settings = f"configs:\n- config_name: default\n  data_files: {address.format(port=host.getsockname()[1])}\n"
        (folder / name).write_text(f"---\n{settings}---\n" if name == "README.md" else settings)
        images = HuggingFaceImages(HuggingFaceOptions(path=str(folder)), saeviz.Context(offline=True))
        with pytest.raises(saeviz.DataError, match=f"{name} names data files on other machines"):
            list(images.iter_images())
        host.settimeout(0)
        with pytest.raises(BlockingIOError):
            host.accept()


def test_groups(saved):
    assert [item.group for item in provide(saved, group_column="kind").iter_images()] == ["cat", "dog", None]
    with pytest.raises(saeviz.ConfigError, match=r"images\.group_column: saved has no column 'tags'"):
        next(provide(saved, group_column="tags").iter_images())


def test_class_labels_and_lists_as_targets(tmp_path):
    text, classes = datasets.Value("string"), datasets.ClassLabel(names=["cat", "dog"])
    columns = {
        "kind": (classes, [0, 1, -1]),
        "tags": (datasets.List(text), [["x"], [], None]),
        "animals": (datasets.LargeList(classes), [[0, 1], [1], []]),
    }
    rows(**columns).save_to_disk(str(tmp_path / "saved"))
    options = {"categories": ["kind"], "multi_labels": ["tags", "animals"], "min_images": 1}
    found = [item.ratings for item in provide(tmp_path / "saved", **options).iter_images()]
    assert found[0] == {"kind=cat": 1.0, "kind=dog": 0.0, "tags=x": 1.0, "animals=cat": 1.0, "animals=dog": 1.0}
    assert found[1] == {"kind=cat": 0.0, "kind=dog": 1.0, "tags=x": 0.0, "animals=cat": 0.0, "animals=dog": 1.0}
    assert found[2] == {"animals=cat": 0.0, "animals=dog": 0.0}
