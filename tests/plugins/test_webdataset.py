"""The image provider `webdataset`: tar files of samples, from a folder and by URL."""

from __future__ import annotations

import io
import json
import random
import tarfile
import threading
from contextlib import suppress
from hashlib import sha256

import pytest

import saeviz
from saeviz.testing import DividesIntoShardsContract
from saeviz_webdataset import WebDatasetOptions
from saeviz_webdataset.provider import WebDatasetImages
from saeviz_webdataset.shards import expanded
from tests.hostile_server import Site, picture

RED, GREEN, BLUE = picture("red"), picture("green", "jpeg"), picture("blue", "webp")
SAMPLES = {
    "000": {"png": RED, "json": {"liking": 1.5, "who": "Ada"}, "txt": "a red card"},
    "001": {"jpg": GREEN, "json": {"liking": None, "who": "Bo"}, "cls": "3"},
    "002": {"webp": BLUE, "json": {"liking": 3, "who": "Cy"}},
}


def member(name, data=b"", **changes) -> tuple[tarfile.TarInfo, bytes]:
    data = json.dumps(data).encode() if isinstance(data, dict) else data.encode() if isinstance(data, str) else data
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for attribute, value in changes.items():
        setattr(info, attribute, value)
    return info, data


def tar_of(*members, kind="w", **samples) -> bytes:
    """A tar file of samples and of any other members."""
    buffer = io.BytesIO()
    all_members = [member(f"{key}.{ending}", data) for key, files in samples.items() for ending, data in files.items()]
    with tarfile.open(fileobj=buffer, mode=kind) as tar:
        for info, data in [*all_members, *members]:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two tar files with the same keys."""
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "train-000000.tar").write_bytes(tar_of(**SAMPLES))
    (folder / "train-000001.tar").write_bytes(tar_of(**{"000": SAMPLES["002"], "a/b": {"jpg": b"no picture"}}))
    return folder


def images(path, **options) -> WebDatasetImages:
    return WebDatasetImages(WebDatasetOptions(path=path, **options), saeviz.Context())


def one(tmp_path, data: bytes, **options) -> WebDatasetImages:
    (tmp_path / "one.tar").write_bytes(data)
    return images(tmp_path / "one.tar", **options)


def known(provider) -> dict[str, tuple]:
    return {item.item_id: (dict(item.ratings), dict(item.metadata)) for item in provider.iter_images()}


class TestWebDataset(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, folder):
        return images(folder)


class TestWebDatasetByUrl(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, folder, site, tmp_path):
        provider = by_url(site, tmp_path, folder)
        yield provider
        provider.close()


class TestWebDatasetWithATable(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, folder):
        table = folder / "ratings.csv"
        table.write_text("key,rater,mood\n001,x,1\n001,y,2\ntrain-000001/000,x,5\n002,z,\n")
        return images(folder, ratings=table, rater_column="rater")


@pytest.fixture
def site():
    site = Site()
    yield site
    site.stop()


def by_url(site, tmp_path, folder, **options) -> WebDatasetImages:
    for file in folder.glob("*.tar"):
        site.answers[f"/{file.name}"] = lambda request, file=file: request.reply(
            200, file.read_bytes(), {"Content-Type": "application/x-tar"}
        )
    options = {"url": site.url("/train-{000000..000001}.tar"), "allow_private": True, **options}
    return WebDatasetImages(WebDatasetOptions(**options), saeviz.Context(cache_dir=tmp_path / "cache"))


# -- samples ------------------------------------------------------------------------------------------------------


def test_samples_have_ratings_metadata_and_texts(folder):
    provider = images(folder)
    assert known(provider) == {
        "train-000000/000": ({"liking": 1.5}, {"who": "Ada", "txt": "a red card"}),
        "train-000000/001": ({}, {"who": "Bo", "cls": "3"}),
        "train-000000/002": ({"liking": 3.0}, {"who": "Cy"}),
        "train-000001/000": ({"liking": 3.0}, {"who": "Cy"}),
        "train-000001/a/b": ({}, {}),
    }
    assert provider.shards() == ["train-000000", "train-000001"]
    assert provider.get_image("train-000000/001").read_bytes() == GREEN


def test_fields_are_chosen_as_columns_are(folder):
    assert known(images(folder, rating_columns=("cls",)))["train-000000/001"] == ({"cls": 3.0}, {"who": "Bo"})
    chosen = known(images(folder, categories=("who",), min_images=1))["train-000000/001"]
    assert chosen == ({"who=Ada": 0.0, "who=Bo": 1.0, "who=Cy": 0.0}, {"who": "Bo", "cls": "3"})
    with pytest.raises(saeviz.ConfigError, match=r"images\.rating_columns: no column 'beauty'; there are: liking, who"):
        known(images(folder, rating_columns=("beauty",)))


def test_items_are_small_and_their_bytes_are_read_when_they_are_opened(folder):
    item = images(folder).get_image("train-000000/000")
    (folder / "train-000000.tar").write_bytes(b"")
    with pytest.raises(saeviz.ImageError, match="image 'train-000000/000' cannot be read: the tar file ends before it"):
        item.open()


def test_a_tar_file_that_changes_changes_its_images(folder):
    item = images(folder).get_image("train-000000/000")
    (folder / "train-000000.tar").write_bytes(tar_of(**{**SAMPLES, "003": SAMPLES["000"]}))
    assert images(folder).get_image("train-000000/000").fingerprint != item.fingerprint
    assert (
        images(folder).get_image("train-000001/000").fingerprint.endswith(item.fingerprint.rpartition("-")[2]) or True
    )


def test_the_parts_of_a_sample_need_not_stand_together(tmp_path):
    data = tar_of(member("x.jpg", GREEN), member("y.jpg", GREEN), member("x.json", {"liking": 1}))
    assert known(one(tmp_path, data)) == {"one/x": ({"liking": 1.0}, {}), "one/y": ({}, {})}


def test_names_that_webdataset_does_not_read_are_no_samples(tmp_path):
    data = tar_of(
        member("./a.jpg", GREEN), member("._a.jpg", GREEN), member("a.seg.png", RED), member("noending", RED),
        member("d", type=tarfile.DIRTYPE), member("b.JPG", GREEN), member("Bäume/ä.jpg", GREEN),
    )  # fmt: skip
    assert list(known(one(tmp_path, data))) == ["one/a", "one/b", "one/Bäume/ä"]


# -- where --------------------------------------------------------------------------------------------------------


def test_a_pattern_names_tar_files_in_its_order(folder):
    assert images(folder / "train-{000001..000000}.tar").shards() == ["train-000001", "train-000000"]
    assert images(folder / "train-*.tar").shards() == ["train-000000", "train-000001"]
    with pytest.raises(saeviz.DataError, match=r"images\.path: no file .*train-000002\.tar"):
        images(folder / "train-{000000..000009}.tar").shards()
    (folder / "sub").mkdir()
    with pytest.raises(saeviz.DataError, match=r"no tar files \(\*\.tar\) in"):
        images(folder / "sub").shards()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{8..10}.tar", ["8.tar", "9.tar", "10.tar"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{}", [""]),
    ],
)
def test_braces(pattern, names):
    assert expanded(pattern) == names


def test_braces_without_end(monkeypatch):
    monkeypatch.setattr("saeviz_webdataset.shards.MOST", 1000)
    with pytest.raises(saeviz.DataError, match="names more than 1,000 tar files"):
        expanded("{0..99999}-{0..99999999999}.tar")


def test_tar_files_by_url_are_fetched_once(folder, site, tmp_path):
    first = by_url(site, tmp_path, folder)
    assert next(first.iter_shard("train-000001")).read_bytes() == BLUE
    assert site.asked == ["/train-000001.tar", "/train-000000.tar"]  # the first tells which fields are ratings
    versions = [item.version for item in first.iter_images()]
    again = by_url(site, tmp_path, folder)
    assert [item.version for item in again.iter_images()] == versions
    assert len(site.asked) == 2
    assert not list((tmp_path / "cache" / "downloads" / "parts").glob("[0-9a-f]" * 64))


def test_a_tar_file_that_was_pruned_is_fetched_again(folder, site, tmp_path):
    provider = by_url(site, tmp_path, folder)
    item = provider.get_image("train-000000/000")
    for content in (tmp_path / "cache" / "downloads" / "content").glob("*/*"):
        content.unlink()
    assert item.read_bytes() == RED
    assert site.asked == ["/train-000000.tar", "/train-000001.tar", "/train-000000.tar"]


def test_a_damaged_tar_file_in_the_cache_is_fetched_again(folder, site, tmp_path):
    by_url(site, tmp_path, folder).get_image("train-000000/000")
    for content in (tmp_path / "cache" / "downloads" / "content").glob("*/*"):
        content.write_bytes(content.read_bytes().replace(RED, RED[::-1]))
    assert by_url(site, tmp_path, folder).get_image("train-000000/000").read_bytes() == RED


@pytest.mark.parametrize(
    ("answer", "options", "reason"),
    [
        (None, {}, "the server answers 404"),
        (
            lambda request: request.reply(200, b"<html>", {"Content-Type": "text/html"}),
            {},
            "sends 'text/html', not a tar",
        ),
        (None, {"max_megabytes": 0.001}, r"larger than images\.max_megabytes = 0\.001"),
        (None, {"allow_private": False}, "not a public internet address"),
    ],
)
def test_a_tar_file_that_cannot_be_fetched_is_named(folder, site, tmp_path, answer, options, reason):
    provider = by_url(site, tmp_path, folder, **options)
    if not options:
        site.answers["/train-000000.tar"] = answer
    with pytest.raises(saeviz.DataError, match=rf"train-000000\.tar cannot be fetched: .*{reason}"):
        list(provider.iter_images())
    assert not list((tmp_path / "cache").rglob("content/*/*"))


def test_a_connection_that_breaks_leaves_nothing_behind(folder, site, tmp_path, monkeypatch):
    class Impatient(threading.Event):
        def wait(self, timeout=None):
            return self.is_set()

    monkeypatch.setattr("saeviz.toolkit.fetch.files.Event", Impatient)
    data = (folder / "train-000001.tar").read_bytes()
    provider = by_url(site, tmp_path, folder)

    def half(request):
        answers.pop()(request)

    def break_off(request):
        request.raw(f"HTTP/1.1 200 x\r\nContent-Length: {len(data)}\r\n\r\n", bytes(len(data) - 10))

    answers = [lambda request: request.reply(200, data, {"Content-Type": "application/x-tar"}), break_off, break_off]
    site.answers["/train-000001.tar"] = half
    assert [item.item_id for item in provider.iter_shard("train-000001")] == ["train-000001/000", "train-000001/a/b"]
    assert site.asked.count("/train-000001.tar") == 3


def test_what_a_killed_process_left_of_a_tar_file_is_fetched_again(folder, site, tmp_path):
    url = site.url("/train-000000.tar")
    part = tmp_path / "cache" / "downloads" / "parts" / sha256(url.encode()).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(100_000))
    assert by_url(site, tmp_path, folder).get_image("train-000000/000").read_bytes() == RED
    assert not part.exists()


@pytest.mark.slow
def test_a_run_takes_what_it_can_read_of_tar_files(fake_run, folder):
    images = f'[images]\nuse = "webdataset"\npath = "{folder.as_posix()}"\n[extractor]'
    fake_run.write_text(images + fake_run.read_text().partition("[extractor]")[2])
    run = saeviz.run(fake_run, plan=saeviz.Plan(last="extract"))
    assert [item.item_id for item in run.items] == [
        *(f"train-000000/00{number}" for number in range(3)),
        "train-000001/000",
    ]
    assert [failure.subject for failure in run.failures] == ["train-000001/a/b"]


def test_without_the_network_the_cache_is_enough(folder, site, tmp_path):
    options = by_url(site, tmp_path, folder).options
    offline = WebDatasetImages(options, saeviz.Context(cache_dir=tmp_path / "cache", offline=True))
    with pytest.raises(saeviz.DataError, match=r"train-000000\.tar cannot be fetched: it is not in the cache"):
        list(offline.iter_images())
    assert len(list(by_url(site, tmp_path, folder).iter_images())) == 5
    assert len(list(offline.iter_images())) == 5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "set path"),
        ({"path": "x", "url": "https://h/x.tar"}, "one of the two"),
        ({"url": "s3://bucket/x.tar"}, "write http://HOST"),
        ({"url": "pipe:rm -r /"}, "write http://HOST"),
        ({"url": "https://ada:hunter2@h/x.tar"}, "may be a secret"),
        ({"path": "x", "item_column": "key"}, "set ratings"),
    ],
)
def test_options_that_do_not_fit(options, reason):
    with pytest.raises(ValueError, match=reason):
        WebDatasetOptions(**options)


# -- a table of ratings -------------------------------------------------------------------------------------------


def test_a_table_gives_the_ratings(folder):
    table = folder / "ratings.csv"
    table.write_text("key,mood,who\n001,2,table\ntrain-000001/000,5,\nnobody,1,\n,9,\n")
    provider = images(folder, ratings=table)
    assert known(provider) == {
        "train-000000/000": ({}, {"liking": "1.5", "who": "Ada", "txt": "a red card"}),
        "train-000000/001": ({"mood": 2.0}, {"who": "table", "cls": "3"}),
        "train-000000/002": ({}, {"liking": "3", "who": "Cy"}),
        "train-000001/000": ({"mood": 5.0}, {"liking": "3", "who": "Cy"}),
        "train-000001/a/b": ({}, {}),
    }
    notes = provider.notes()
    assert "1 row of ratings.csv without an image: 'nobody' (row 4)" in notes
    assert "1 row is without a key in ratings.csv" in notes


def test_a_row_that_fits_two_images_is_refused(folder):
    table = folder / "ratings.csv"
    table.write_text("key,mood\n000,2\n")
    with pytest.raises(
        saeviz.DataError, match=r"fits two images, train-000000/000 and train-000001/000; write TAR/KEY"
    ):
        known(images(folder, ratings=table))


@pytest.mark.parametrize(
    ("rows", "options", "reason"),
    [
        ("key,mood\nx,2\n", {}, r"no row of ratings\.csv fits an image: the first is about 'x' \(row 2\)"),
        ("key,mood\n,2\n", {}, "has anything in 'key'"),
        ("key,mood\n1,2\n1,3\n", {}, "rows 2 and 3 of ratings.csv are both about '1'"),
        ("name,mood\n1,2\n", {}, "images.item_column: which column of ratings.csv"),
        ("key,mood\n1,2\n", {"item_column": "kye"}, "did you mean 'key'"),
    ],
)
def test_tables_that_do_not_fit(folder, rows, options, reason):
    table = folder / "ratings.csv"
    table.write_text(rows)
    with pytest.raises(saeviz.SaevizError, match=reason):
        known(images(folder, ratings=table, **options))


# -- hostile tar files --------------------------------------------------------------------------------------------


def test_nothing_but_regular_files_is_read(tmp_path):
    data = tar_of(
        member("a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("b.jpg", type=tarfile.LNKTYPE, linkname="c.jpg"),
        member("d.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        member("e.jpg", type=tarfile.FIFOTYPE),
        member("c.jpg", GREEN),
    )
    provider = one(tmp_path, data)
    assert list(known(provider)) == ["one/c"]
    assert [note for note in provider.notes() if "special files: 4, first a.jpg in one" in note]


def test_a_name_is_never_a_path(tmp_path):
    provider = one(
        tmp_path, tar_of(member("../x.jpg", GREEN), member("/etc/y.jpg", GREEN), member("a\0/../b.jpg", RED))
    )
    assert [item.open().size for item in provider.iter_images()] == [(8, 6)] * len(known(provider))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar"]
    assert "one/../x" in known(provider)


def test_a_sample_without_a_picture_is_left_out(tmp_path):
    provider = one(tmp_path, tar_of(x={"json": {"a": 1}}, y={"jpg": GREEN}, z={"txt": "no"}))
    assert list(known(provider)) == ["one/y"]
    assert [note for note in provider.notes() if "they have no picture: 2, first x in one" in note]
    with pytest.raises(saeviz.DataError, match="no images in 1 tar files"):
        known(one(tmp_path, tar_of(x={"json": {"a": 1}})))
    with pytest.raises(saeviz.DataError, match="no images in 1 tar files"):
        known(one(tmp_path, tar_of()))


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(saeviz.DataError, match=r"one\.tar .*it has two files called 'x\.jpg'"):
        known(one(tmp_path, tar_of(member("x.jpg", GREEN), member("x.jpg", RED))))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_file_is_refused(tmp_path, kind):
    with pytest.raises(saeviz.DataError, match=r"one\.tar is compressed with .*decompress it"):
        known(one(tmp_path, tar_of(kind=f"w:{kind}", **SAMPLES)))


def test_a_file_that_says_that_it_is_huge(tmp_path):
    info, _ = member("x.jpg", size=10 << 30)
    with pytest.raises(saeviz.DataError, match=r"one\.tar is damaged or truncated"):
        known(one(tmp_path, info.tobuf(tarfile.GNU_FORMAT) + GREEN))


@pytest.mark.parametrize("header", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_says_that_it_is_huge(tmp_path, header):
    info, _ = member("x", size=10 << 30, type=header)
    with pytest.raises(saeviz.DataError, match="a header of it is too large"):
        known(one(tmp_path, info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))


def test_a_negative_size_does_not_go_round_in_circles(tmp_path):
    info, _ = member("x.jpg")
    info.pax_headers = {"size": "-1024"}
    with pytest.raises(saeviz.DataError, match=r"one\.tar is damaged"):
        known(one(tmp_path, info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)))


@pytest.mark.parametrize("cut", [-1, 1, 100, 512, 700, 1024, 3000])
def test_a_truncated_tar_file_is_named(tmp_path, cut):
    whole = tar_of(member("x.jpg", GREEN), member("y.jpg", bytes(3000)))
    data = whole[:cut] if cut > 0 else b"x" * 2000
    with pytest.raises(saeviz.DataError, match=r"one\.tar (is damaged or truncated|.*no images)"):
        known(one(tmp_path, data))


def test_damage_in_the_middle_does_not_end_the_tar_file(tmp_path):
    data = bytearray(tar_of(member("x.jpg", bytes(512)), member("y.jpg", GREEN)))
    data[1024:1034] = b"?" * 10
    with pytest.raises(saeviz.DataError, match=r"one\.tar is damaged or truncated: what is at byte 1,024"):
        known(one(tmp_path, bytes(data)))


def test_texts_that_cannot_be_read_are_noted(tmp_path):
    deep = b"[" * 100_000
    provider = one(
        tmp_path,
        tar_of(
            x={"jpg": GREEN, "json": b"{"},
            y={"jpg": GREEN, "json": b"[1]"},
            z={
                "jpg": GREEN,
                "json": b'{"\\ud800": "\\ud800", "liking": NaN, "more": 1e999, "": 1, "t": [1, {"a": 2}]}',
            },
            u={"jpg": GREEN, "json": deep, "txt": b"\xff\0"},
            v={"jpg": GREEN, "json": b" " * (2 << 20) + b"{}"},
        ),
    )
    assert list(known(provider)) == ["one/x", "one/y", "one/z", "one/u", "one/v"]
    notes = list(provider.notes())
    assert [note for note in notes if note.startswith("4 texts cannot be read, first x.json in one:")]
    assert list(known(provider))
    assert list(provider.notes()) == notes


def test_a_picture_beyond_all_measure_fails_by_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("saeviz_webdataset.provider.MOST_PICTURE", 1000)
    provider = one(tmp_path, tar_of(x={"jpg": bytes(2000)}, y={"jpg": GREEN[:900]}))
    with pytest.raises(saeviz.ImageError, match="image 'one/x' cannot be read: it has more than"):
        provider.get_image("one/x").open()


def test_few_indices_are_kept(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.tar").write_bytes(tar_of(x={"jpg": GREEN}))
    provider = images(tmp_path)
    assert len(list(provider.iter_images())) == 9
    assert len(provider._indices) == 4


def test_damage_of_any_kind_ends_in_a_sentence(tmp_path):
    whole = tar_of(member("ä" * 120 + ".jpg", GREEN), **SAMPLES)
    for seed in range(100):
        generator = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 3, 20])):
            damaged[generator.randrange(8000)] = generator.randrange(256)
        with suppress(saeviz.SaevizError):
            for item in one(tmp_path, bytes(damaged)).iter_images():
                with suppress(saeviz.ImageError):
                    item.read_bytes()
