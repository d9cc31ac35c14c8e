from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import saeviz
from saeviz.testing import LabelerContract
from saeviz_metadata_terms import MetadataTermsOptions
from saeviz_metadata_terms.labeler import MetadataTerms
from saeviz_metadata_terms.log_odds import confidence, over_represented
from saeviz_metadata_terms.words import words

OASIS = Path(__file__).parents[3] / "shared" / "oasis"
THINGS = ["lake", "dog", "cake", "storm", "tower", "grass", "fence", "horse", "guitar", "spoon"]


class TestContract(LabelerContract):
    component = MetadataTerms

    @pytest.fixture
    def make(self):
        # With 4 top images among 24, the usual strong prior would outweigh the data.
        return lambda context: MetadataTerms(MetadataTermsOptions(prior=1, min_confidence=0.5), context)


def item(item_id, **metadata):
    return saeviz.ImageItem(item_id, b"", metadata=metadata)


def titled(*titles):
    return [item(f"i{number}", title=title) for number, title in enumerate(titles)]


@pytest.fixture
def photographs():
    """Ten things, twelve photographs of each, titled like 'Lake 3'."""
    return titled(*(f"{thing.capitalize()} {number}" for thing in THINGS for number in range(1, 13)))


def request(top, dataset):
    return saeviz.LabelRequest(
        feature=saeviz.Feature(11, "cls", 7),
        tier=1,
        top=[saeviz.TopImage(one, 1.0) for one in top],
        contrast=[],
        scores={},
        relations=[],
        dataset=dataset,
    )


def label(top, dataset, **options):
    return MetadataTerms(MetadataTermsOptions(**options), saeviz.Context()).label(request(top, dataset))


def test_names_a_feature_by_the_over_represented_word(photographs):
    lakes = photographs[:10]
    found = label([*lakes, *photographs[20:100:10]], photographs)
    assert found.label == "lake"
    assert found.elements == ("lake",)
    assert found.confidence > 0.99
    assert found.description == "“lake” in 10 of 18 top images, 10.0 % of all"


def test_the_table_has_the_counts_and_z_of_the_strongest_words(photographs):
    found = label([*photographs[:10], *photographs[12:14]], photographs)
    assert found.details["columns"] == ["title"]
    assert (found.details["n_top"], found.details["n_all"]) == (12, 120)
    lake, dog = found.details["terms"]
    assert (lake["word"], lake["n_top"], lake["n_all"]) == ("lake", 10, 12)
    assert (dog["word"], dog["n_top"], dog["n_all"]) == ("dog", 2, 12)
    assert lake["z"] > 3 > dog["z"]


def test_words_that_follow_each_other_make_a_phrase_and_others_stand_apart(photographs):
    climbing = [item(f"c{number}", title=f"Rock climbing {number}") for number in range(8)]
    dataset = [*photographs, *climbing]
    assert label(climbing, dataset).label == "rock climbing"
    mixed = label([*climbing, *photographs[:8]], dataset)
    assert mixed.label == "rock climbing, lake"
    assert set(mixed.elements) == {"rock", "climbing", "lake"}


def test_at_most_max_words(photographs):
    top = [*photographs[:6], *photographs[12:18], *photographs[24:30]]
    assert label(top, photographs, min_confidence=0).label.count(",") == 2
    assert label(top, photographs, min_confidence=0, max_words=1).label in {"lake", "dog", "cake"}


def test_a_word_on_every_image_names_nothing():
    dataset = titled(*(f"photo {number}" for number in range(50)))
    found = label(dataset[:20], dataset)
    assert found.label == ""
    assert "chance" in found.description
    assert found.details["terms"][0]["z"] == 0


def test_a_word_with_one_top_image_is_no_name(photographs):
    assert label(photographs[::12], photographs).label == ""
    rare = [*titled("unicorn"), *photographs]
    assert label(rare[:1], rare, min_confidence=0).label == ""
    assert label(rare[:1], rare, min_confidence=0, min_count=1).label == "unicorn"


def test_few_random_groups_of_images_get_a_name():
    generator = np.random.default_rng(3)
    vocabulary = [f"{first}{second}o" for first in "bcdfghklmn" for second in "aeiou"]
    dataset = titled(*(" ".join(generator.choice(vocabulary, 3)) for _ in range(400)))
    labeler = MetadataTerms(MetadataTermsOptions(), saeviz.Context())
    groups = [generator.choice(400, 20, replace=False) for _ in range(200)]
    named = [labeler.label(request([dataset[index] for index in group], dataset)).label != "" for group in groups]
    assert np.mean(named) <= 0.1


def test_images_without_words_do_not_count(photographs):
    silent = [item(f"s{number}", title="  12 — 7 ") for number in range(200)]
    found = label([*photographs[:8], *silent[:8]], [*photographs, *silent])
    assert found.label == "lake"
    assert (found.details["n_top"], found.details["n_all"]) == (8, 120)


def test_top_images_without_words_give_no_name(photographs):
    silent = item("s", title="")
    found = label([silent], [*photographs, silent])
    assert (found.label, found.confidence) == ("", 0.0)
    assert found.description == "none of the top images has any text"


def test_reads_the_usual_columns_in_any_case_and_no_others():
    dataset = [
        item(f"i{number}", Title="lake" if number < 10 else "town", SOURCE="agency" if number < 10 else "web")
        for number in range(60)
    ]
    found = label(dataset[:10], dataset)
    assert (found.label, found.details["columns"]) == ("lake", ["Title"])
    assert label(dataset[:10], dataset, columns=["source"]).label == "agency"


def test_columns_may_stand_on_some_images_only(photographs):
    captioned = [item(f"c{number}", caption="a red kite") for number in range(9)]
    assert label(captioned, [*photographs, *captioned]).label == "red kite"


def test_no_column_to_read_names_those_that_exist():
    dataset = [item("a", artist="Klee", year="1922"), item("b", museum="Bern")]
    with pytest.raises(saeviz.ConfigError, match=r"columns: .*title or tags.*they have artist, museum, year"):
        label(dataset[:1], dataset)
    with pytest.raises(saeviz.ConfigError, match=r"no image has a column 'titel'; they have artist, museum, year"):
        label(dataset[:1], dataset, columns=["artist", "titel"])
    with pytest.raises(saeviz.ConfigError, match="they have no metadata at all"):
        label([item("a")], [item("a"), item("b")])


def test_a_dataset_that_lacks_the_top_images_is_no_disaster(photographs):
    strangers = titled(*["Unicorn"] * 6)
    assert label(strangers, photographs).label == "unicorn"
    assert label(strangers, titled(*[""] * 9)).label == ""


def test_stop_words_are_left_out_and_can_be_added(photographs):
    dataset = [*photographs, *(item(f"t{number}", title="The tall Tree on a hill") for number in range(9))]
    assert label(dataset[-9:], dataset).label == "tall tree hill"
    assert label(dataset[-9:], dataset, stopwords=["Tall"]).label == "tree hill"


def test_the_background_is_counted_once_per_dataset(photographs):
    class Counting(list):
        passes = 0

        def __iter__(self):
            self.passes += 1
            return super().__iter__()

    dataset = Counting(photographs)
    labeler = MetadataTerms(MetadataTermsOptions(), saeviz.Context())
    labeler.label(request(photographs[:10], dataset))
    once = dataset.passes
    assert labeler.label(request(photographs[12:22], dataset)).label == "dog"
    assert dataset.passes == once
    others = [item(f"o{number}", title="lake" if number < 9 else "sea") for number in range(60)]
    assert labeler.label(request(others[:9], others)).details["n_all"] == 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Acorns 1", ["acorns"]),
        ("sunset;sea,Sky|2021", ["sunset", "sea", "sky"]),
        ("hang-gliding at the woman's 3D x-ray", ["hang", "gliding", "woman", "3d", "ray"]),
        ("Straße, \uff37ide and \ufb01ne", ["strasse", "wide", "fine"]),
        ("हिन्दी 猫 кошка", ["हिन्दी", "猫", "кошка"]),
        ("<b>cat</b>\x00{dog}\n%s", ["cat", "dog"]),
        ("x" * 41 + " 1 22 , 🐈", []),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_z_is_the_log_odds_ratio_over_its_error():
    from statsmodels.stats.contingency_tables import Table2x2

    (term,) = over_represented({"lake": 14}, 20, {"lake": 30}, 600, prior=1e-9)
    table = Table2x2([[14, 6], [30, 570]])
    assert term.z == pytest.approx(table.log_oddsratio / table.log_oddsratio_se)


def test_the_prior_pulls_towards_the_usual_frequency():
    by_prior = [over_represented({"lake": 3}, 20, {"lake": 6}, 600, prior=prior)[0].z for prior in (0.1, 10, 1000)]
    assert by_prior == sorted(by_prior, reverse=True)
    assert by_prior[0] > 3
    assert 0 < by_prior[-1] < 1


def test_equal_frequency_has_no_z_and_less_is_negative():
    usual, less = over_represented({"usual": 2, "less": 1}, 20, {"usual": 60, "less": 300}, 600, prior=10)
    assert usual.word == "usual"
    assert usual.z == pytest.approx(0)
    assert less.z < -1


def test_confidence_falls_with_the_number_of_words_to_choose_from():
    assert confidence(3.0, 1) == pytest.approx(0.99865, abs=1e-5)
    assert confidence(3.0, 500) == pytest.approx(0.99865**500, abs=1e-3)
    assert confidence(-50.0, 10) == 0
    assert confidence(50.0, 10_000) == 1


@pytest.mark.skipif(not OASIS.is_dir(), reason="needs ../shared/oasis")
def test_themes_of_real_photographs():
    with (OASIS / "ratings.csv").open(encoding="utf-8") as file:
        dataset = [item(row["item_id"], theme=row["theme"], category=row["category"]) for row in csv.DictReader(file)]
    dogs = [one for one in dataset if one.metadata["theme"].startswith("Dog ")]
    faces = [one for one in dataset if one.metadata["theme"].startswith("Sad face ")]
    others = dataset[::40]
    assert label([*dogs[:8], *others[:12]], dataset).label == "dog"
    assert label([*faces, *others[: 20 - len(faces)]], dataset).label == "sad face"
    assert label(others, dataset).label == ""
    assert label(dogs, dataset, columns=["category"]).label == "animal"


def test_judges_by_the_share_of_the_words_that_stand_with_an_image():
    judge = MetadataTerms(MetadataTermsOptions(), saeviz.Context())
    images = [item("a", title="A lake in the woods"), item("b", tags="Lake;dog"), item("c", theme="dog"), item("d")]
    words_of = saeviz.FeatureLabel("lake, woods", "“lake” in 12 of 20 top images")
    np.testing.assert_equal(judge.judge(words_of, images), [1, 0.5, 0, np.nan])
    with pytest.raises(saeviz.LabelError, match="no word to look for"):
        judge.judge(saeviz.FeatureLabel("the of 12"), images)


def test_judges_by_the_columns_that_were_asked_for():
    judge = MetadataTerms(MetadataTermsOptions(columns=("Mood",)), saeviz.Context())
    images = [item("a", mood="calm", title="lake"), item("b", title="calm")]
    np.testing.assert_equal(judge.judge(saeviz.FeatureLabel("calm"), images), [1, np.nan])


def test_a_misspelt_column_is_found_before_the_run(fake_run, saeviz_command):
    ended = saeviz_command(
        "check", fake_run, "--set", "labeler.use=metadata-terms", "--set", "labeler.columns=['titel']"
    )
    assert ended.code == 2
    assert "labeler.columns: no image has a column 'titel'" in ended.err
