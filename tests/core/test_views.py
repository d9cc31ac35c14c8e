"""What a run, a feature, an image and a table of features show in a notebook; text from outside stays text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import pytest
from PIL import Image

import saeviz
from saeviz import ConfigError, DataError, ImageError, ImageItem, TopImage
from tests.conftest import FAKES

HOSTILE = "\"><img src=x onerror=alert(1)>'</table><script>alert(2)</script>{{ 7*7 }}\x1b[31m\u202e" + "x" * 10_000
TAGS = {"bdi", "b", "code", "div", "figcaption", "figure", "h3", "img", "p", "small", "span"}
TAGS |= {"details", "style", "summary", "table", "tbody", "td", "th", "thead", "tr"}


@pytest.fixture
def run(finished_run):
    return saeviz.open_run(finished_run.parent / "runs" / "fake", plugins=[FAKES])


class Page(HTMLParser):
    """Text, pictures and tags of some HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.images, self.text = set(), [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"class", "src", "alt", "title", "height"}, attrs
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data):
        self.text += data


def shown(thing):
    return Page(thing._repr_html_())


def test_a_run_shows_what_was_found_and_its_first_features(run):
    page = shown(run)
    rating = run.ratings[0]
    own = run.correlations[run.correlations["rating"] == rating]
    best = own.loc[own[own["q"].notna()]["r"].abs().idxmax()]
    assert f"{len(run.items)} images" in page.text
    assert str(saeviz.feature_of(best.to_dict())) in page.text
    assert f"{best['r']:+.2f}".replace("-", "\N{MINUS SIGN}") in page.text
    assert f"{len(run.selected)} features selected" in page.text
    first = run.selected[0].feature
    assert str(first) in page.text
    assert run.labels[first].label in page.text


def test_a_run_that_has_only_begun_shows_itself(fake_run):
    run = saeviz.run(fake_run, plan=saeviz.Plan(last="extract"))
    assert "finished: extract" in shown(run).text


def test_a_feature_shows_its_label_pictures_and_relations(run):
    feature = run.selected[0].feature
    page = shown(run.feature(str(feature)))
    top = run.top_images(feature, 8)

    assert run.labels[feature].label in page.text
    assert [image["alt"] for image in page.images] == [one.item.item_id for one in top]
    picture = base64.b64decode(page.images[0]["src"].removeprefix("data:image/jpeg;base64,"))
    assert max(Image.open(BytesIO(picture)).size) <= 192
    for row in run.correlations_of(feature):
        assert row["rating"] in page.text
        assert f"{row['r']:+.2f}".replace("-", "\N{MINUS SIGN}") in page.text
    assert "largest activation on an image" in page.text, "every score says what it means"
    assert "held out" not in page.text, "no images were held out, so no column says so"
    assert repr(run.feature(feature)) == f"FeatureView('{feature}')"


def test_an_image_shows_itself_its_ratings_and_the_features_that_fire_most(run):
    item = run.items[3]
    page = shown(run.image(item.item_id))
    batch = run.features(run.spaces[0])
    row = batch.matrix[[3]].toarray()[0]
    strongest = saeviz.Feature(batch.space.layer, batch.space.tokens, int(row.argmax()), batch.space.sae)

    assert len(page.images) == 1
    for rating, value in item.ratings.items():
        assert f"{rating} {value:.3g}" in page.text.replace("\N{MINUS SIGN}", "-")
    assert str(strongest) in page.text
    assert f"{(row > 0).sum()} active" in page.text
    with pytest.raises(DataError, match="no image 'nowhere'"):
        run.image("nowhere")


def test_a_table_is_of_the_selected_features_of_a_list_or_of_rows(run):
    features = [one.feature for one in run.selected]
    assert run.table().features == tuple(features)
    assert run.table([str(features[1]), features[0], features[0]]).features == (features[1], features[0])
    rows = run.correlations.nlargest(7, "r")
    assert run.table(rows).features == tuple(dict.fromkeys(saeviz.features_of(rows)))
    page = shown(run.table(features[:3]))
    assert re.findall(r"layer\d+\.\w+/\d+", page.text) == [str(one) for one in features[:3]]
    many = [saeviz.Feature(run.spaces[0].layer, run.spaces[0].tokens, index) for index in range(30)]
    assert "and 5 more" in shown(run.table(many)).text
    with pytest.raises(ConfigError, match="does not exist"):
        run.table([f"{run.spaces[0]}/1000000"])


def test_text_from_outside_is_text_and_has_an_end(run, monkeypatch):
    feature = run.selected[0].feature
    hostile = ImageItem(HOSTILE, Image.new("RGB", (8, 8)).copy, ratings={HOSTILE: 1.0}, metadata={HOSTILE: HOSTILE})
    run.labels = {one.feature: saeviz.FeatureLabel(HOSTILE, HOSTILE) for one in run.selected}
    run.correlations = run.correlations.assign(rating=HOSTILE)
    rows = [{**row, "rating": HOSTILE} for row in run.correlations_of(feature)]
    monkeypatch.setattr(run, "correlations_of", lambda feature: rows)
    monkeypatch.setattr(run, "top_images", lambda feature, k: [TopImage(hostile, 1.0)] * 2)
    run.manifest = {**run.manifest, "stages": {**run.manifest["stages"]}}
    run.manifest["stages"]["score"] = {**run.manifest["stages"]["score"], "counts": {"rated": {HOSTILE: 1}}}

    image = saeviz.ImageView(run, ImageItem(run.items[0].item_id, hostile.source, {HOSTILE: 1.0}, {HOSTILE: HOSTILE}))
    views = [run, run.feature(feature), image, run.table([feature])]
    for html in (one._repr_html_() for one in views):
        page = Page(html)
        assert page.tags <= TAGS
        assert "<img src=x" in page.text, "it is shown, as text"
        assert "{{ 7*7 }}" in page.text or "..." in page.text
        assert not re.search("[\x1b\u202e]|x{200}", html)


def test_pictures_that_cannot_be_read_are_a_box_or_a_sentence(run, monkeypatch):
    feature = run.selected[0].feature

    def broken():
        raise ImageError("broken")

    monkeypatch.setattr(run, "top_images", lambda feature, k: [TopImage(ImageItem("a", broken), 1.0)])
    page = shown(run.feature(feature))
    assert not page.images
    assert "1" in page.text

    def gone(feature, k):
        raise ConfigError("the folder is gone")

    monkeypatch.setattr(run, "top_images", gone)
    assert "no pictures: the folder is gone" in shown(run.table([feature])).text
    assert "no pictures: the folder is gone" in shown(run).text


def test_a_table_that_is_not_about_features_is_refused(run):
    with pytest.raises(saeviz.DataError, match=r"no column 'sae'; give rows of run\.scores"):
        run.table(run.ratings_table)
