"""Which checks a contract suite makes, from what a component can do, and which of them are expected to fail."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import saeviz
import saeviz.testing
from saeviz.testing import EmbeddingProviderContract, FeatureStoreContract, LabelerContract, fakes

pytest_plugins = "pytester"

QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly")


class Plain:
    """A labeler with no optional capability."""

    def __init__(self, context):
        self.fake = fakes.FakeLabeler(fakes.FakeLabelerOptions(), context)

    def label(self, request):
        return self.fake.label(request)


class Judging(Plain):
    def judge(self, label, images):
        return self.fake.judge(label, images)


class Hidden(Plain):
    def __init__(self, context):
        super().__init__(context)
        self.concurrency = 2


class Shown(Hidden):
    concurrency: int


class OfPlain(LabelerContract):
    component = Plain

    @pytest.fixture
    def make(self):
        return self.component


class OfJudging(OfPlain):
    component = Judging
    deterministic = False


class OfHidden(OfPlain):
    component = Hidden


class OfShown(OfPlain):
    component = Shown


class Undeclared(LabelerContract):
    @pytest.fixture
    def make(self):
        return Plain


JUDGING, CALLS = "test_judges_its_own_label", "test_says_how_many_calls_may_be_made_at_once"


def of(pytester, suite, *options):
    pytester.makepyfile(f"from tests.core.test_testing_made import {suite} as TestIt")
    return pytester.runpytest_inprocess(*QUIET, *options)


@pytest.mark.parametrize(
    ("suite", "made", "not_made"),
    [
        (OfPlain, ["test_says_the_same_twice"], [JUDGING, CALLS]),
        (OfJudging, [JUDGING], [CALLS, "test_says_the_same_twice", "test_judges_by_words_and_pictures_only"]),
        (OfShown, [CALLS], [JUDGING]),
    ],
)
def test_a_check_is_made_only_of_what_the_component_can_do(pytester, suite, made, not_made):
    listed = of(pytester, suite.__name__, "--collect-only", "-q").stdout.str()
    assert [name in listed for name in made] == [True] * len(made)
    assert [name in listed for name in not_made] == [False] * len(not_made)


def test_nothing_is_skipped_where_the_class_is_known(pytester):
    options = "-rs", "-k", "is_a_labeler or calls or cost"
    of(pytester, "OfPlain", *options).assert_outcomes(passed=1)
    result = of(pytester, "Undeclared", *options)
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["*no saeviz.ConcurrentLabeler; say component = Plain in Undeclared*"])


def test_a_capability_that_the_class_does_not_show_is_an_error(pytester):
    result = of(pytester, "OfHidden", "-k", "is_a_labeler")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*has saeviz.ConcurrentLabeler, which its class Hidden does not show*"])


def without_wraps(check):
    def wrapper(self, labeler):
        check(self, labeler)

    return wrapper


class OfAnother(Undeclared):
    """A suite whose `component` is a fixture of its own, and whose check has another `__name__`."""

    expected_failures: ClassVar = {"test_is_a_labeler": "an old entry"}

    @pytest.fixture
    def component(self):
        return Plain

    @pytest.fixture
    def make(self, component):
        return component

    test_is_a_labeler = without_wraps(LabelerContract.test_is_a_labeler)


def test_a_suite_may_have_a_fixture_of_the_name_and_decorated_checks(pytester):
    result = of(pytester, "OfAnother", "-rs", "-k", "is_a_labeler or calls")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*say component = Plain in OfAnother*"])
    assert "[XPASS(strict)] an old entry" in result.stdout.str()


class Odd(fakes.FakeEmbeddings):
    """It takes no pictures of one colour depth, and nothing of two others."""

    def embed(self, items):
        rows = super().embed(items)
        rows[[item.item_id.startswith(("I;16", "1 ")) for item in items]] = np.nan
        return rows


class KnownToFail(EmbeddingProviderContract):
    """A suite whose component is known not to pass two cases; another one it passes after all."""

    component = Odd
    expected_failures: ClassVar = {
        "test_takes_pictures_of_any_mode[1]": "the model has no black and white",
        "test_takes_pictures_of_any_mode[I;16]": "the model has 8 bits",
        "test_no_items_give_no_rows": "an old entry",
    }

    @pytest.fixture
    def make(self):
        return lambda context: Odd(fakes.Slow(), context)


class OfNoCase(KnownToFail):
    expected_failures: ClassVar = {"test_takes_pictures_of_any_mode[CYMK]": "misspelt"}


def test_expected_failures_are_told_with_their_reason_and_must_fail(pytester):
    result = of(pytester, "KnownToFail", "-rx", "-k", "any_mode or no_items")
    result.assert_outcomes(xfailed=2, passed=5, failed=1)
    result.stdout.fnmatch_lines(["*any_mode[[]1[]] - the model has no black and white*"])
    assert "[XPASS(strict)] an old entry" in result.stdout.str()


def test_an_expected_failure_of_no_case_is_an_error(pytester):
    result = of(pytester, "OfNoCase", "-k", "any_mode and RGBA")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'test_takes_pictures_of_any_mode[[]CYMK[]]', which is no case of the check*"])


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("test_misspelt", "why", "which is no check of this suite"),
        ("test_misspelt[1]", "why", "which is no check of this suite"),
        ("selector", "why", "which is no check of this suite"),
        ("test_is_a_feature_store", " ", "say in words why test_is_a_feature_store fails"),
        ("test_keeps_everything_when_opened_again", "why", "which is not made: the suite says durable = False"),
        ("test_dense_features_of_one_item", "why", "which is not made: object has no saeviz.OneItemStore"),
    ],
)
def test_an_expected_failure_is_of_a_check_and_says_why(name, reason, said):
    suite = {"component": object, "durable": False, "expected_failures": {name: reason}}
    with pytest.raises(TypeError, match=said):
        type("Suite", (FeatureStoreContract,), suite)


def test_what_a_suite_leaves_out_a_further_subclass_takes_up_again():
    assert not callable(OfPlain.test_judges_its_own_label)
    assert callable(type("Suite", (OfPlain,), {"component": Judging}).test_judges_its_own_label)


def test_each_assertion_of_a_suite_has_a_sentence():
    for path in Path(saeviz.testing.__file__).parent.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        bare = [node.lineno for node in nodes if isinstance(node, ast.Assert) and node.msg is None]
        assert not bare, f"{path.name}, line {bare[0]}: what was expected, and what came?"
