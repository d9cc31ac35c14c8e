"""The image provider `supabase`: rows of a table, files of a storage bucket."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

import saeviz
from saeviz.testing import ImageProviderContract

pytest.importorskip("supabase", reason="needs pip install 'saeviz[supabase]'")

import saeviz_supabase.images
import saeviz_supabase.transport
from saeviz_supabase import SupabaseImagesOptions
from saeviz_supabase.images import SupabaseImages
from tests.supabase_server import Fault, SupabaseServer

TABLE = """
    create table paintings (
        id integer primary key, file text, liking real, calm integer, liking_sd real, title text,
        about jsonb, seen date);
    insert into paintings values
        (10, 'a.png', 4.5, 1, 0.5, 'Nighthawks', '{"by": "Hopper"}', '2020-01-02'),
        (9, 'sub folder/b ü%20?.png', null, 2, 0.5, 'Café: a study', null, null),
        (8, 'broken.png', null, null, null, null, null, null),
        (7, 'absent.png', 2, 3, 'NaN', '  ', null, null),
        (6, null, 1, 1, 1, '', null, null);
"""


def png(shade: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), (shade % 256, 80, 120)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def project(database_url, monkeypatch):
    monkeypatch.setattr(saeviz_supabase.transport, "FIRST_DELAY", 0.002)
    with SupabaseServer(database_url) as server:
        server.sql(TABLE)
        server.files["art"] = {"a.png": png(1), "sub folder/b ü%20?.png": png(2), "broken.png": b"broken"}
        yield server


@pytest.fixture
def images(project, tmp_path):
    def built(key="service_role", **options):
        values = {"table": "paintings", "bucket": "art", "path_column": "file", **options}
        chosen = SupabaseImagesOptions(url=project.url, key=project.keys[key], **values)
        return SupabaseImages(chosen, saeviz.Context(cache_dir=tmp_path / "cache"))

    return built


class TestContract(ImageProviderContract):
    n_images = 5

    @pytest.fixture
    def provider(self, images):
        return images()


class TestContractWithTextIdsInSmallPages(ImageProviderContract):
    n_images = 5

    @pytest.fixture
    def provider(self, images, project):
        project.sql("create table works (id text primary key, file text, liking real)")
        project.sql("""
            insert into works values
                ('a,b(c)"d', 'a.png', 1), ('in.(x)', 'a.png', null), ('../x', 'a.png', 2), ('É', 'a.png', 3),
                ('\\0', null, 1)
        """)
        project.most_rows = 2
        return images(table="works")


def known(provider):
    return {item.item_id: (dict(item.ratings), dict(item.metadata)) for item in provider.iter_images()}


def test_numbers_are_ratings_and_text_is_metadata(images):
    found = known(images())
    assert list(found) == ["6", "7", "8", "9", "10"]
    assert found["10"] == (
        {"liking": 4.5, "calm": 1.0},
        {"liking_sd": "0.5", "title": "Nighthawks", "seen": "2020-01-02"},
    )
    assert found["7"][0] == {"liking": 2.0, "calm": 3.0}
    assert found["8"] == ({}, {})


def test_files_are_downloaded_when_they_are_opened(images, project):
    items = {item.item_id: item for item in images().iter_images()}
    assert not any("storage" in path for _, path, _ in project.requests)
    assert items["9"].open().getpixel((0, 0)) == (2, 80, 120)
    project.faults.extend([Fault(503), Fault(0)])
    assert items["10"].open().getpixel((0, 0)) == (1, 80, 120)


@pytest.mark.parametrize(
    ("item_id", "reason"),
    [
        ("8", "not in a supported image"),
        ("7", r"the bucket has no file 'absent\.png'"),
        ("6", "its row has no path"),
    ],
)
def test_what_cannot_be_read_is_one_picture_less(images, item_id, reason):
    with pytest.raises(saeviz.ImageError, match=f"image '{item_id}' cannot be read: .*{reason}"):
        images().get_image(item_id).open()


def test_a_path_cannot_leave_the_bucket(images, project):
    project.files["secret"] = {"x.png": png(9)}
    for path in ("../secret/x.png", "/secret/x.png", "../../../rest/v1/paintings", "%2e%2e/secret/x.png"):
        project.sql(f"update paintings set file = '{path}' where id = 10")
        with pytest.raises(saeviz.ImageError, match=r"leads out of the bucket|the bucket has no file"):
            images().get_image("10").open()
    assert not any(path.startswith("/storage/v1/object/secret") for _, path, _ in project.requests)


def test_a_changed_file_is_noticed_by_the_version_column(images, project):
    before = {version: images(version_column=version).get_image("10").fingerprint for version in (None, "seen")}
    project.sql("update paintings set seen = '2020-01-03' where id = 10")
    assert images().get_image("10").fingerprint == before[None]
    assert images(version_column="seen").get_image("10").fingerprint != before["seen"]


def test_files_whose_version_is_known_are_kept_for_all_runs(images, project):
    def of(item_id, **options):
        return images(version_column="seen", **options).get_image(item_id)

    item = of("10")
    assert item.source.read_bytes() == png(1)
    project.files["art"]["a.png"] = png(3)
    assert of("10").open().getpixel((0, 0)) == (1, 80, 120), "nothing says that it changed"
    project.sql("update paintings set seen = '2020-01-03' where id = 10")
    assert of("10").open().getpixel((0, 0)) == (3, 80, 120)
    for unknown in (of("9"), images().get_image("10")):
        assert not isinstance(unknown.source, saeviz.HasBytes), "it would be downloaded again to know what it is"
    project.files["art"]["a.png"] = png(4)
    assert images().get_image("10").open().getpixel((0, 0)) == (4, 80, 120)


def test_what_failed_is_not_kept(images, project):
    item = images(version_column="seen").get_image("10")
    data = project.files["art"].pop("a.png")
    with pytest.raises(saeviz.ImageError, match="the bucket has no file"):
        item.open()
    project.files["art"]["a.png"] = data
    assert item.open().getpixel((0, 0)) == (1, 80, 120)


def test_a_bucket_that_is_not_there_ends_the_run(images, project):
    with pytest.raises(saeviz.SaevizError, match=r"images.bucket: nothing: Bucket not found") as caught:
        images(bucket="nothing").get_image("10").open()
    assert not isinstance(caught.value, saeviz.ImageError)


def test_a_table_that_is_not_there_is_named(images):
    with pytest.raises(saeviz.ConfigError, match=r"'public.nothing' in the schema cache; look at images.table"):
        list(images(table="nothing").iter_images())


@pytest.mark.parametrize(
    ("option", "value"),
    [("path_column", "nothing"), ("version_column", "nothing"), ("rating_columns", ["nothing"])],
)
def test_a_column_that_is_not_there_is_named(images, option, value):
    with pytest.raises(saeviz.ConfigError, match=rf"images.{option}: no column 'nothing'; there are: id, file"):
        list(images(**{option: value}).iter_images())


def test_an_id_column_that_is_not_there_is_told(images):
    with pytest.raises(saeviz.SaevizError, match=r'column "nothing" does not exist'):
        list(images(id_column="nothing").iter_images())


def test_ids_have_to_differ(images):
    with pytest.raises(saeviz.DataError, match=r"images.id_column: the id '1' occurs more than once"):
        list(images(id_column="calm").iter_images())


def test_row_level_security_decides_which_images_there_are(images, project):
    project.sql("alter table paintings enable row level security")
    project.sql("create policy few on paintings for select to anon using (liking > 1)")
    assert list(known(images("anon"))) == ["7", "10"]
    assert images("anon").get_image("9") is None
    assert len(known(images())) == 5


def test_pages_are_asked_for_until_there_are_no_more(images, project, monkeypatch):
    monkeypatch.setattr(saeviz_supabase.images, "RECORDS_AT_ONCE", 3)
    provider = images()
    assert list(known(provider)) == ["6", "7", "8", "9", "10"]
    project.requests.clear()
    assert len(list(provider.iter_images(limit=2))) == 2
    assert len(project.requests) == 1


def test_columns_are_told_apart_as_in_a_table(images, project):
    project.sql("create table works (id integer primary key, file text, valence real, valence_sd real, x integer,"
                "tags text[], vector text)")  # fmt: skip
    vector = str([0.5] * 64)
    rows = ", ".join(f"({n}, 'a.png', {n}.5, 0.5, {n}, '{{sea,sky}}', '{vector}')" for n in range(1, 4))
    project.sql(f"insert into works values {rows}")
    provider = images(table="works")
    assert known(provider)["2"] == ({"valence": 2.5}, {"valence_sd": "0.5", "x": "2"})
    notes = " ".join(provider.notes())
    for said in ("valence_sd looks like a spread", "x looks like a row number", "'tags' (lists)", "'vector' (lists of"):
        assert said in notes


def test_what_holds_no_single_values_is_transferred_for_a_few_rows_only(images, project):
    project.sql(
        """create table works (id integer primary key, file text, "odd, (name)" real, tags text[], raw bytea)"""
    )
    row = "'a.png', 1.5, '{sea,sky}', decode(repeat('00ff', 500), 'hex')"
    project.sql("insert into works values " + ", ".join(f"({number}, {row})" for number in range(1, 41)))
    provider = images(table="works")
    found = known(provider)
    assert len(found) == 40
    assert found["40"] == ({"odd, (name)": 1.5}, {})
    assert provider.get_image("40").ratings == {"odd, (name)": 1.5}
    assert "works: not read, because they are not single values: 'tags' (lists), 'raw' (bytes)" in provider.notes()
    whole = [
        path for method, path, _ in project.requests if method == "GET" and "select=%2A" in path.replace("*", "%2A")
    ]
    assert len(whole) == 1
    assert "limit=20" in whole[0]


def test_a_rating_that_holds_no_single_values_is_refused_by_name(images, project):
    project.sql("create table works (id integer primary key, file text, tags text[])")
    project.sql("insert into works values (1, 'a.png', '{sea,sky}')")
    with pytest.raises(saeviz.ConfigError, match=r"rating_columns: 'tags' holds lists, not numbers"):
        images(table="works", rating_columns=["tags"]).notes()


def test_groups(images):
    provider = images(group_column="title")
    assert {item.item_id: item.group for item in provider.iter_images()}["10"] == "Nighthawks"
    assert provider.get_image("7").group is None
    with pytest.raises(saeviz.ConfigError, match=r"group_column: 'about' holds structures, not text"):
        images(group_column="about").notes()


def test_categories_and_labels(images, project):
    project.sql("create table tagged (id integer primary key, file text, kind text, tags text[], more jsonb)")
    project.sql("""
        insert into tagged values
            (1, 'a.png', 'x', '{sky,sea}', '["a"]'), (2, 'a.png', null, '{}', '[]'), (3, 'a.png', 'y', null, null)
    """)
    provider = images(table="tagged", categories=["kind"], multi_labels=["tags", "more"], min_images=1)
    assert [dict(item.ratings) for item in provider.iter_images()] == [
        {"kind=x": 1.0, "kind=y": 0.0, "tags=sea": 1.0, "tags=sky": 1.0, "more=a": 1.0},
        {"tags=sea": 0.0, "tags=sky": 0.0, "more=a": 0.0},
        {"kind=x": 0.0, "kind=y": 1.0},
    ]
    with pytest.raises(saeviz.ConfigError, match=r"categories: 'tags' holds lists, not text"):
        images(table="tagged", categories=["tags"]).notes()
