"""The image providers `table` and `url`."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import saeviz
from saeviz.pipeline.run import Plan
from saeviz.testing import ImageProviderContract, fakes
from saeviz_table import TableOptions, UrlOptions
from saeviz_table.provider import TableImages, UrlImages
from tests.conftest import FAKE_RUN
from tests.hostile_server import Site, picture

RED, BLUE = picture("red"), picture("blue", "jpeg")


@pytest.fixture
def site():
    site = Site()
    site.answers.update({"/a.png": RED, "/sub/b.jpg": BLUE})
    yield site
    site.stop()


@pytest.fixture
def cached(tmp_path):
    return saeviz.Context(cache_dir=tmp_path / "cache")


@pytest.fixture
def three(tmp_path):
    """Three pictures and a table of them beside their folder."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("b.png", "green"), ("sub/c.png", "blue")):
        (folder / name).write_bytes(picture(colour))
    rows = "path,liking,liking_sd,title\nimages/a.png,1.5,0.2,first\nimages/b.png,,0.1,\nimages/sub/c.png,3,0.4,third\n"
    return write(tmp_path / "table.csv", rows)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def table(path, **options) -> TableImages:
    return TableImages(TableOptions(path=path, **options), saeviz.Context())


def known(provider) -> dict[str, tuple]:
    return {item.item_id: (dict(item.ratings), dict(item.metadata)) for item in provider.iter_images()}


class TestTable(ImageProviderContract):
    n_images = 3

    @pytest.fixture
    def provider(self, three):
        return table(three)


class TestTableOfBoth(ImageProviderContract):
    """Paths and URLs in one column, one of them without a picture."""

    n_images = 4

    @pytest.fixture
    def provider(self, three, site, cached):
        rows = [
            ["images/a.png", 1],
            [site.url("/a.png"), 2],
            [site.url("/sub/b.jpg?s=1"), None],
            [site.url("/no.png"), 4],
        ]
        path = three.with_name("both.json")
        path.write_text(json.dumps([{"image": image, "liking": liking} for image, liking in rows]))
        provider = TableImages(TableOptions(path=path, allow_private=True), cached)
        yield provider
        provider.close()


class TestUrlList(ImageProviderContract):
    n_images = 2

    @pytest.fixture
    def provider(self, tmp_path, site, cached):
        path = write(tmp_path / "urls.txt", f"# pictures\n{site.url('/a.png')}\n\n  {site.url('/sub/b.jpg')}  \n")
        provider = UrlImages(UrlOptions(path=path, allow_private=True), cached)
        yield provider
        provider.close()


# -- table --------------------------------------------------------------------------------------------------------


def test_ratings_and_metadata_are_told_apart(three):
    provider = table(three)
    assert known(provider) == {
        "images/a.png": ({"liking": 1.5}, {"liking_sd": "0.2", "title": "first"}),
        "images/b.png": ({}, {"liking_sd": "0.1"}),
        "images/sub/c.png": ({"liking": 3.0}, {"liking_sd": "0.4", "title": "third"}),
    }
    assert [note for note in provider.notes() if "liking_sd looks like a spread" in note]
    assert known(table(three, rating_columns=("liking_sd",)))["images/b.png"] == ({"liking_sd": 0.1}, {})


@pytest.mark.parametrize("ending", ["tsv", "json", "parquet"])
def test_any_kind_of_table(three, ending):
    frame, path = pd.read_csv(three), three.with_suffix(f".{ending}")
    if ending == "tsv":
        frame.to_csv(path, sep="\t", index=False)
    elif ending == "json":
        frame.to_json(path, orient="records")
    else:
        frame.to_parquet(path)
    assert known(table(path)) == known(table(three))


def test_a_column_may_have_the_ids(three):
    path = write(three.with_name("ids.csv"), "code,file\nx/1,images/a.png\n../2,images/b.png\n,images/a.png\ny,\n")
    provider = table(path, item_column="code")
    assert list(known(provider)) == ["x/1", "../2"]
    assert provider.get_image("../2").source.read_bytes() == picture("green")
    assert "2 rows are without an image or an id in ids.csv" in provider.notes()


def test_two_items_may_show_one_picture(three):
    path = write(three.with_name("ids.csv"), "code,file\nx,images/a.png\ny,images/a.png\n")
    assert list(known(table(path, item_column="code"))) == ["x", "y"]


def test_paths_are_relative_to_the_folder_that_is_named(three):
    path = write(three.with_name("other.csv"), "file,liking\nsub\\c.png,1\na.png,2\n")
    items = list(table(path, folder=three.parent / "images").iter_images())
    assert [item.item_id for item in items] == ["sub\\c.png", "a.png"]
    assert items[0].source.read_bytes() == picture("blue")


def test_a_wrong_folder_is_seen_at_once(three):
    with pytest.raises(
        saeviz.DataError, match=r"none of the first 3 files that table\.csv names exists.*images\.folder"
    ):
        list(table(three, folder=three.parent / "images").iter_images())


def test_a_file_that_is_not_there_fails_by_itself(three):
    path = write(
        three.with_name("other.csv"), "file\nimages/a.png\nimages/gone.png\nimages/\0.png\n" + "x" * 5000 + ".png\n"
    )
    good, *others = table(path).iter_images()
    assert good.open().size == (8, 6)
    for item in others:
        assert item.fingerprint
        with pytest.raises(saeviz.ImageError):
            item.open()


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("file\na.png\nb.png\na.png\n", {}, r"rows 2 and 4 of t\.csv are both about 'a\.png'"),
        ("picture\na.png\n", {}, r"images\.image_column: which column of t\.csv has the images\?.*it has picture"),
        ("picture\na.png\n", {"image_column": "pictur"}, r"images\.image_column.*did you mean 'picture'\?"),
        ("file\na.png\n", {"item_column": "id"}, r"images\.item_column: t\.csv has no column 'id'"),
        ("file,x\n,1\n", {}, r"no row of .*t\.csv names an image"),
        ("file\n", {}, r"images\.path: .*t\.csv has no rows"),
        ("file,x\na.png,y\n", {"rating_columns": ("x",)}, r"images\.rating_columns: 'x' of t\.csv has no numbers"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, text, options, says):
    (tmp_path / "a.png").write_bytes(RED)
    with pytest.raises(saeviz.SaevizError, match=says):
        list(table(write(tmp_path / "t.csv", text), **options).iter_images())


LONG = "path,code,rater,liking,age,title\n"
SAID = "images/a.png,A,x,1,30,one\nimages/b.png,B,x,4,30,two\nimages/a.png,A,y,3,50,one\nimages/a.png,A,12,5,20,\n"


def test_a_table_may_have_a_row_for_each_rater(three):
    write(three, LONG + SAID + ",,y,3,50,\n")
    provider = table(three, rater_column="rater", item_column="code", rating_columns=("liking",))
    a, b = provider.iter_images()
    assert (a.item_id, a.ratings, a.individual) == ("A", {"liking": 3.0}, {"liking": {"x": 1.0, "y": 3.0, "12": 5.0}})
    assert (b.ratings, b.individual) == ({"liking": 4.0}, {"liking": {"x": 4.0}})
    assert a.metadata == {"title": "one"}
    assert a.open().size == b.open().size == (8, 6)
    assert provider.get_image("A").individual == a.individual
    assert [note for note in provider.notes() if "without" in note or "age" in note] == [
        "table.csv: age differs between rows of an image and cannot be metadata",
        "1 row is without an image or an id in table.csv",
    ]


def test_what_is_known_of_raters_is_no_rating(three):
    write(three, LONG + SAID + "images/b.png,B,y,2,50,two\n")
    provider = table(three, rater_column="rater", item_column="code")
    assert [dict(item.ratings) for item in provider.iter_images()] == [{"liking": 3.0}, {"liking": 3.0}]
    assert any("constant within each rater: age" in note for note in provider.notes())


def test_raters_have_to_call_an_image_the_same(three):
    write(three, LONG + SAID + "images/c.png,A,z,3,50,\n")
    with pytest.raises(
        saeviz.DataError, match=r"rows 2 and 6 of table\.csv are both about 'A'; call an image the same"
    ):
        list(table(three, rater_column="rater", item_column="code").iter_images())
    with pytest.raises(saeviz.ConfigError, match=r"images\.rater_column: table\.csv has no column 'who'"):
        list(table(three, rater_column="who").iter_images())


class TestLongTable(ImageProviderContract):
    n_images = 2

    @pytest.fixture
    def provider(self, three):
        return table(write(three, LONG + SAID), rater_column="rater")


def test_a_hostile_id_forges_no_line_of_the_log_and_leaves_no_escape_in_it(tmp_path, saeviz_command):
    ids = ["a\nb WARNING forged", "\x1b]0;owned\x07", "\u202egnp.exe", "x" * 10_000, "\U0001f600", "../../up", "c"]
    (tmp_path / "a.png").write_bytes(RED)
    files = ["a.png", *(f"absent{number}.png" for number in range(len(ids)))]
    rows = [{"file": file, "id": item_id} for file, item_id in zip(files, ["good", *ids], strict=True)]
    write(tmp_path / "t.json", json.dumps(rows))
    write(
        tmp_path / "art.toml",
        FAKE_RUN.replace('use = "fake-images"\nn = 24', 'use = "table"\npath = "t.json"\nitem_column = "id"'),
    )
    ended = saeviz_command("run", tmp_path / "art.toml", "--until", "extract")
    said = (tmp_path / "runs" / "art" / "log.txt").read_text() + ended.err
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert not any(line.startswith("b WARNING") for line in said.splitlines())
    assert r"a\nb WARNING forged: left out" in said
    failures = (tmp_path / "runs" / "art" / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in failures] == ids
    assert not (tmp_path.parent / "up").exists()


def test_no_such_table(tmp_path):
    with pytest.raises(saeviz.DataError, match=r"images\.path: no file .*none\.csv"):
        list(table(tmp_path / "none.csv").iter_images())


# -- url ----------------------------------------------------------------------------------------------------------


def test_nothing_is_fetched_before_it_is_opened(tmp_path, site, cached):
    path = write(tmp_path / "urls.txt", site.url("/a.png"))
    provider = UrlImages(UrlOptions(path=path, allow_private=True), cached)
    (item,) = provider.iter_images()
    assert site.asked == []
    before = item.fingerprint
    assert item.open().getpixel((0, 0)) == (255, 0, 0)
    assert next(provider.iter_images()).fingerprint == before
    provider.close()


def test_what_is_no_url_is_said(tmp_path):
    path = write(tmp_path / "urls.txt", "https://host/a.png\nhost/b.png\n")
    with pytest.raises(saeviz.DataError, match=r"urls\.txt names 'host/b\.png', which is not a URL"):
        list(UrlImages(UrlOptions(path=path), saeviz.Context()).iter_images())


def test_the_same_url_twice(tmp_path):
    path = write(
        tmp_path / "urls.txt", "# list\nhttps://host/a.png?k=s3cr3t\nhttps://host/b.png\nhttps://host/a.png?k=s3cr3t\n"
    )
    with pytest.raises(saeviz.DataError, match=r"rows 2 and 4 of urls\.txt") as caught:
        list(UrlImages(UrlOptions(path=path), saeviz.Context()).iter_images())
    assert "s3cr3t" not in str(caught.value)


RUN_OF_URLS = FAKE_RUN.replace('use = "fake-images"\nn = 24', 'use = "url"\npath = "urls.csv"\nallow_private = true')


@pytest.fixture
def run_of_urls(tmp_path, site):
    """A run over five URLs with secrets in them, one of which shows nothing."""
    colours = ["red", "green", "blue", "white"]
    site.answers.update({f"/{n}.png": picture(colour) for n, colour in enumerate(colours)})
    urls = [site.url(f"/{n}.png?token=s3cr3t{n}", "alice:hunter2@127.0.0.1") for n in range(5)]
    write(tmp_path / "urls.csv", "url,liking\n" + "".join(f"{url},{n}\n" for n, url in enumerate(urls)))
    return write(tmp_path / "art.toml", RUN_OF_URLS + '[run]\ncache_dir = "cache"\n')


def test_a_run_over_urls_fetches_each_once_and_writes_no_secret(run_of_urls, site, tmp_path):
    run = saeviz.run(run_of_urls)
    assert sorted(site.asked) == [f"/{n}.png?token=s3cr3t{n}" for n in range(5)]
    (failure,) = run.failures
    assert "the server answers 404" in failure.error
    again = saeviz.run(run_of_urls)
    assert len(site.asked) == 6, "the one that failed is asked for again, no other"
    assert len(again.items) == 4
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "urls.csv"]
    assert len(written) > 15
    for path in written:
        assert not any(secret in path.read_bytes() for secret in (b"s3cr3t", b"hunter2", b"alice")), path


def test_runs_share_what_they_make_of_fetched_pictures(run_of_urls, site, tmp_path, monkeypatch):
    saeviz.run(run_of_urls, settings=["run.cache=true"], plan=Plan(last="embed"))
    for kind in (fakes.FakeExtractor, fakes.FakeEmbeddings):
        monkeypatch.setattr(kind, "embed" if kind is fakes.FakeEmbeddings else "extract", lambda self, items: 1 / 0)
    site.answers.pop("/3.png")
    settings = ["run.cache=true", f"run.dir={tmp_path / 'other'}", "images.path=four.csv"]
    write(tmp_path / "four.csv", "".join((tmp_path / "urls.csv").read_text().splitlines(keepends=True)[:5]))
    monkeypatch.chdir(tmp_path)
    assert len(saeviz.run(run_of_urls, settings=settings, plan=Plan(last="embed")).items) == 4


def test_a_run_without_network_has_what_was_fetched_before(run_of_urls, site, tmp_path):
    saeviz.run(run_of_urls)
    run = saeviz.run(run_of_urls, settings=["run.offline=true", f"run.dir={tmp_path / 'other'}"])
    assert len(site.asked) == 5
    assert [failure.error for failure in run.failures if "run.offline is set" not in failure.error] == []
    assert len(run.items) == 4


def test_groups(three):
    items = table(three, group_column="title").iter_images()
    assert [item.group for item in items] == ["first", None, "third"]


def test_a_list_has_no_column_of_groups(tmp_path):
    path = write(tmp_path / "list.txt", "a.png\nb.png\n")
    with pytest.raises(saeviz.ConfigError, match=r"images\.group_column: list\.txt has no column 'artist'"):
        table(path, group_column="artist").notes()
