from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

import saeviz
from saeviz.testing import LabelerContract
from saeviz.testing.data import pictures
from saeviz.testing.fakes import COLOURS, FakeExtractor, FakeExtractorOptions
from saeviz_clip_vocabulary import ClipVocabularyOptions
from saeviz_clip_vocabulary.calibrate import fit, reliability
from saeviz_clip_vocabulary.calibration import NAME_IS_RIGHT, TERM_APPLIES, Logistic
from saeviz_clip_vocabulary.labeler import ClipVocabulary
from saeviz_clip_vocabulary.vocabulary import BUILT_IN, read_terms

TERMS = ["lake", "dog", "storm", "tower", "everything"]


@pytest.fixture
def colour_words(tmp_path):
    path = tmp_path / "colours.txt"
    path.write_text("\n".join(COLOURS), encoding="utf-8")
    return path


class TestContract(LabelerContract):
    component = ClipVocabulary

    @pytest.fixture
    def make(self, colour_words):
        return lambda context: ClipVocabulary(ClipVocabularyOptions(vocabulary=colour_words), context)


class ToyClip:
    """A joint space with one axis per term. An image is its bytes: `b"dog"` lies on the axis of dog, with some noise.

    The text `everything` is close to all images alike. It keeps count of what it is asked.
    """

    def __init__(self, context):
        self.context = context
        self.embedded = []
        self.texts = []

    def embed_images(self, items):
        self.embedded += [item.item_id for item in items]
        return np.array([self._image(item) for item in items], dtype=np.float32).reshape(len(items), len(TERMS))

    def _image(self, item):
        if item.source == b"broken":
            self.context.failed(item.item_id, "cannot be read")
            return np.full(len(TERMS), np.nan)
        vector = np.random.default_rng(list(item.item_id.encode())).normal(0, 0.1, len(TERMS))
        vector[TERMS.index(item.source.decode())] += 1
        vector[TERMS.index("everything")] = 3
        return vector / np.linalg.norm(vector)

    def embed_texts(self, texts):
        self.texts += texts
        return np.array([[term in text for term in TERMS] for text in texts], dtype=np.float32)


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("\n".join(TERMS), encoding="utf-8")
    return path


@pytest.fixture
def clip():
    return ToyClip(saeviz.Context())


@pytest.fixture
def dataset():
    """Two hundred images, fifty of each of four things."""
    return [image(thing, number) for number in range(50) for thing in TERMS[:4]]


@pytest.fixture
def label(vocabulary, clip, dataset):
    labeler = build(clip, vocabulary=vocabulary)

    def name(*top, dataset=dataset):
        return labeler.label(request(top, dataset))

    return name


def image(thing, number=0):
    return saeviz.ImageItem(f"{thing} {number}", thing.encode())


def build(extractor, *, seed=0, **options):
    context = saeviz.Context(seed=seed, peer=lambda role: {"extractor": extractor}[role])
    return ClipVocabulary(ClipVocabularyOptions(**options), context)


def request(top, dataset):
    return saeviz.LabelRequest(
        feature=saeviz.Feature(7, "cls", 3),
        tier=1,
        top=[one if isinstance(one, saeviz.TopImage) else saeviz.TopImage(one, 1.0) for one in top],
        contrast=[],
        scores={},
        relations=[],
        dataset=dataset,
    )


def dogs(count):
    return [image("dog", number) for number in range(count)]


def test_names_a_feature_by_what_its_top_images_have_and_random_ones_have_not(label):
    found = label(*dogs(10))
    assert found.label == "dog"
    assert 0.3 < found.confidence < 1
    assert "“dog” fits the top images" in found.description


def test_a_term_that_fits_all_images_alike_is_not_the_name(label, clip):
    top = dogs(10)
    similarity = clip.embed_images(top) @ clip.embed_texts(TERMS).T
    assert (similarity.argmax(axis=1) == TERMS.index("everything")).all()
    found = label(*top)
    assert "everything" not in (found.label, *found.elements)


def test_strong_activations_count_more(label):
    top = [*dogs(9), image("lake", 0), image("lake", 1)]
    assert label(*top).label == "dog"
    assert label(*(saeviz.TopImage(one, 5.0 if "lake" in one.item_id else 0.1) for one in top)).label == "lake"


def test_activations_without_weight_count_alike(label):
    assert label(*(saeviz.TopImage(one, 0.0) for one in dogs(5))).label == "dog"


def test_the_next_best_terms_are_the_elements(label):
    found = label(*dogs(40), *(image("lake", number) for number in range(35)))
    assert (found.label, found.elements) == ("dog", ("lake",))


def test_details_hold_the_best_terms_with_their_scores_and_chance(label):
    found = label(*dogs(10))
    details = json.loads(json.dumps(found.details))
    scores = [row["score"] for row in details["terms"]]
    assert details["terms"][0]["term"] == "dog"
    assert scores == sorted(scores, reverse=True)
    assert found.confidence == pytest.approx(float(NAME_IS_RIGHT(scores[0] - details["chance"])), abs=2e-2)


def test_the_score_is_in_standard_deviations_over_random_images(vocabulary, clip, dataset):
    found = build(clip, vocabulary=vocabulary, random_images=len(dataset)).label(request(dogs(10), dataset))
    axis = TERMS.index("dog")
    everyone, top = clip.embed_images(dataset)[:, axis], clip.embed_images(dogs(10))[:, axis]
    expected = (top.mean() - everyone.mean()) / everyone.std(ddof=1)
    assert found.details["terms"][0]["score"] == pytest.approx(expected, abs=2e-3)


def test_more_alike_top_images_are_named_with_more_confidence(label, dataset):
    pure, half = label(*dogs(20)), label(*dogs(10), *dataset[:10])
    assert pure.confidence > half.confidence > 0


def test_random_images_mostly_get_no_name(label, dataset):
    generator = np.random.default_rng(5)
    groups = [generator.choice(len(dataset), 16, replace=False) for _ in range(60)]
    found = [label(*(dataset[index] for index in group)) for group in groups]
    assert np.mean([one.label != "" for one in found]) <= 0.15
    nameless = next(one for one in found if not one.label)
    assert nameless.confidence == 0
    assert "better than random images" in nameless.description


def test_an_image_that_features_share_is_embedded_once(label, clip, dataset):
    label(*dogs(8))
    label(*dogs(10))
    label(*(image("lake", number) for number in range(8)))
    assert len(clip.embedded) == len(set(clip.embedded))
    assert len(clip.texts) == len(set(clip.texts)) == 3 * len(TERMS)


def test_at_most_the_asked_number_of_random_images_is_embedded(vocabulary, clip, dataset):
    build(clip, vocabulary=vocabulary, random_images=20).label(request(dogs(5), dataset))
    assert len(clip.embedded) <= 25


def test_another_dataset_gets_random_images_of_its_own(label, clip):
    label(*dogs(5))
    strangers = [image("tower", number) for number in range(100, 140)]
    found = label(*dogs(5), dataset=strangers)
    assert {one.item_id for one in strangers} <= set(clip.embedded)
    assert found.label == "dog"


def test_the_seed_chooses_the_random_images(vocabulary, clip, dataset):
    def details(seed):
        return build(clip, seed=seed, vocabulary=vocabulary, random_images=20).label(request(dogs(5), dataset)).details

    assert details(0) == details(0) != details(1)


def test_unreadable_images_are_left_out(label, dataset):
    broken = [saeviz.ImageItem(f"broken {number}", b"broken") for number in range(9)]
    assert label(*broken[:3], *dogs(5)).details == label(*dogs(5)).details
    assert label(*dogs(5), dataset=[*dataset, *broken]).label == "dog"
    with pytest.raises(saeviz.LabelError, match=r"layer7\.cls/3: none of its 9 top images can be read"):
        label(*broken)
    with pytest.raises(saeviz.LabelError, match=r"layer7\.cls/3: fewer than two random images"):
        label(*dogs(5), dataset=[*broken, dataset[0]])


def test_no_top_images_and_an_empty_dataset(label):
    assert label() == saeviz.FeatureLabel("", "the feature is not active on any image", confidence=0.0)
    with pytest.raises(saeviz.LabelError, match="fewer than two"):
        label(*dogs(1), dataset=[])


def test_images_that_are_all_the_same_get_no_name(label):
    same = [replace(image("dog"), item_id="dog 0") for _ in range(10)]
    assert label(*same, dataset=same).label == ""
    assert 0 <= label(*dogs(3), dataset=same).confidence <= 1


def test_templates_are_filled_in_as_text(vocabulary, clip, dataset):
    vocabulary.write_text("dog\n{0.__class__}\n%s lake\n", encoding="utf-8")
    found = build(clip, vocabulary=vocabulary, templates=["see {}!", "{} {}"]).label(request(dogs(5), dataset))
    assert found.label == "dog"
    assert {"see dog!", "see {0.__class__}!", "see %s lake!", "dog dog"} <= set(clip.texts)
    with pytest.raises(ValidationError, match="templates"):
        ClipVocabularyOptions(templates=["a photo"])


def test_borrows_the_extractor_of_the_run(colour_words):
    items = pictures(60)
    red = [item for item in items if item.metadata["colour"] == "red"]
    extractor = FakeExtractor(FakeExtractorOptions(), saeviz.Context())
    assert build(extractor, vocabulary=colour_words).label(request(red, items)).label == "red"


def test_an_extractor_without_text_tower_is_refused_with_the_next_step():
    with pytest.raises(saeviz.ConfigError, match=r"clip_checkpoint: .*no text encoder.*metadata-terms"):
        build(object())


def test_outside_a_run_there_is_no_clip_to_borrow():
    with pytest.raises(saeviz.ConfigError, match="no extractor available"):
        ClipVocabulary(ClipVocabularyOptions(), saeviz.Context())


def test_the_built_in_vocabulary_suits_the_tables():
    terms = read_terms(BUILT_IN)
    assert 1000 <= len(terms) <= 2000
    assert len({term.casefold() for term in terms}) == len(terms)
    assert all(len(term.split()) <= 5 for term in terms)
    assert {"dog", "stripes", "sunset", "symmetrical composition", "calm scene", "watercolor"} <= set(terms)


def test_a_vocabulary_is_one_term_a_line(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_bytes("\ufeff# animals\r\ndog\r\n\r\n  brown   bear \r\ndog\r\n猫\r\n".encode())
    assert read_terms(path) == ["dog", "brown bear", "猫"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\n# nothing\n", "has no terms"), (b"\xff\xfe\x00d", "is not UTF-8 text"), (None, "cannot be read")],
)
def test_an_unusable_vocabulary_is_named(tmp_path, clip, content, message):
    path = tmp_path / "terms.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(saeviz.ConfigError, match=rf"vocabulary: .*terms\.txt {message}"):
        build(clip, vocabulary=path)


def test_takes_a_clip_of_its_own(tmp_path, vocabulary):
    """A CLIP of open_clip with random weights: what it says means nothing, but every step is the real one."""
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    options = ClipVocabularyOptions(vocabulary=vocabulary, clip_checkpoint=str(folder))
    items = pictures(12)
    found = ClipVocabulary(options, saeviz.Context(device="cpu", offline=True)).label(request(items[:4], items))
    assert [row["term"] in TERMS for row in found.details["terms"]] == [True] * 5
    assert sum(abs(row["score"]) for row in found.details["terms"]) > 0


def test_the_vocabulary_may_be_in_the_run_file(clip, dataset):
    labeler = build(clip, terms=["lake", " dog ", "dog", "storm"])
    assert labeler.label(request(dogs(10), dataset)).label == "dog"
    assert {text for text in clip.texts if "photo" not in text and "picture" not in text} == {"lake", "dog", "storm"}
    with pytest.raises(ValidationError, match="vocabulary or terms"):
        ClipVocabularyOptions(vocabulary="words.txt", terms=["dog"])


# judging


class Provider:
    def __init__(self, items):
        self.items = items

    def iter_images(self):
        return iter(self.items)


def judge(clip, vocabulary, dataset):
    context = saeviz.Context(peer=lambda role: {"extractor": clip, "images": Provider(dataset)}[role])
    return ClipVocabulary(ClipVocabularyOptions(vocabulary=vocabulary), context)


def test_judges_words_by_how_close_an_image_is_compared_with_random_ones(clip, vocabulary, dataset):
    labeler = judge(clip, vocabulary, dataset)
    images = [*dogs(5), image("lake", 3), saeviz.ImageItem("x", b"broken")]
    scores = labeler.judge(saeviz.FeatureLabel("dog"), images)
    assert (scores[:5] > 0.9).all()
    assert scores[5] < 0.1
    assert np.isnan(scores[6])
    axis = TERMS.index("dog")
    everyone, mine = clip.embed_images(dataset)[:, axis], clip.embed_images(images)[:, axis]
    z = (mine - everyone.mean()) / everyone.std(ddof=1)
    np.testing.assert_allclose(labeler.closeness("dog", images), z, atol=1e-5)
    np.testing.assert_allclose(scores, TERM_APPLIES(z), atol=1e-5)


def test_judging_does_not_depend_on_what_was_named_before(clip, vocabulary, dataset):
    fresh, used = judge(clip, vocabulary, dataset), judge(clip, vocabulary, dataset)
    used.label(request(dogs(3), dataset[:20]))
    label = saeviz.FeatureLabel("storm")
    np.testing.assert_array_equal(fresh.judge(label, dataset[:9]), used.judge(label, dataset[:9]))


def test_without_images_to_compare_with_nothing_is_judged(clip, vocabulary):
    broken = [saeviz.ImageItem(str(number), b"broken") for number in range(4)]
    with pytest.raises(saeviz.LabelError, match="fewer than two random images"):
        judge(clip, vocabulary, broken).judge(saeviz.FeatureLabel("dog"), dogs(2))


# calibration


def test_the_fit_finds_the_curve_that_made_the_data():
    generator = np.random.default_rng(0)
    scores, curve = generator.normal(size=20_000), Logistic(-1.0, 2.5)
    truth = generator.random(20_000) < curve(scores)
    assert fit(scores, truth, np.ones(20_000)) == pytest.approx(curve, abs=0.1)
    heavier = fit(scores, truth, np.where(truth, 3.0, 1.0))
    assert heavier.offset == pytest.approx(curve.offset + np.log(3), abs=0.1)


def test_reliability_tells_an_honest_curve_from_a_boastful_one():
    generator = np.random.default_rng(0)
    scores, curve = generator.normal(size=20_000), Logistic(0.0, 1.5)
    truth = generator.random(20_000) < curve(scores)
    weights = np.ones(20_000)

    def worst(claimed):
        rows = [line.split() for line in reliability(claimed, scores, truth, weights)][1:-1]
        return max(abs(float(promised) - float(true)) for promised, true, _ in rows)

    assert worst(curve) < 0.03
    assert worst(Logistic(0.0, 8.0)) > 0.1


def test_probabilities_stay_in_bounds():
    assert Logistic(0.0, 1.0)(np.array([-1e9, 0.0, 1e9])).tolist() == pytest.approx([0, 0.5, 1])


def test_a_term_that_is_too_long_for_a_label_is_refused_at_once(clip):
    options = ClipVocabularyOptions(terms=("dog", "academic gown, academic robe, judge's robe"))
    with pytest.raises(saeviz.ConfigError, match=r"terms: .*academic gown.* has 6 words"):
        ClipVocabulary(options, replace(saeviz.Context(), peer=lambda _: clip))
