"""What all contract suites share: which checks are made for a component, which are expected to fail, and sentences."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest

from saeviz.contract.roles import missing_members
from saeviz.formats.plain import quoted
from saeviz.values.checks import kind_of

Check = TypeVar("Check", bound=Callable[..., None])


class Need(NamedTuple):
    """What a check is about that not every component has."""

    capability: type | None = None
    declared: Sequence[str] = ()


class NotMade(NamedTuple):
    """Stands in a suite where a check does not apply, so that pytest does not collect it."""

    check: Callable[..., None]
    why: str


NEEDS: dict[Callable[..., None], Need] = {}
"""What each check is about that has a need."""


def needs(capability: type | None = None, *, declared: str | Sequence[str] = ()) -> Callable[[Check], Check]:
    """A check for components with an optional capability; and of suites that declare something, or one of several.

    What is declared is an attribute of the suite that is not false or empty.
    """

    def marked(check: Check) -> Check:
        NEEDS[check] = Need(capability, [declared] if isinstance(declared, str) else declared)
        return check

    return marked


class Contract:
    """A suite of checks, each of which is a sentence about what components of a role do."""

    component: ClassVar[type | None] = None
    """The class of the component. From it follows which optional capabilities it has, and so which checks are made."""
    subject: ClassVar[str] = ""
    """The fixture with the component."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks that the component is known not to pass, each with the reason.

    They are reported as expected failures; one that passes after all is a failure, so that the list stays true. Of a
    check with parameters all cases are meant, or one: `"test_takes_pictures_of_any_mode[I;16]"`.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, check in checks_of(cls).items():
            why = cls._why_not(check)
            if why or isinstance(getattr(cls, name), NotMade):
                setattr(cls, name, NotMade(check, why) if why else check)
        for name, reason in cls.expected_failures.items():
            known = getattr(cls, name.split("[")[0], None)
            if isinstance(known, NotMade):
                raise TypeError(f"{cls.__name__}.expected_failures names {name!r}, which is not made: {known.why}")
            if not (name.startswith("test_") and known):
                raise TypeError(f"{cls.__name__}.expected_failures names {name!r}, which is no check of this suite")
            if not (isinstance(reason, str) and reason.strip()):
                raise TypeError(f"{cls.__name__}.expected_failures: say in words why {name} fails")

    @classmethod
    def _why_not(cls, check: Callable[..., None]) -> str:
        need = NEEDS.get(check, Need())
        if need.declared and not any(getattr(cls, name) for name in need.declared):
            return f"the suite says {' and '.join(f'{name} = {getattr(cls, name)!r}' for name in need.declared)}"
        component = class_of(cls)
        if need.capability and component and not shows(component, need.capability):
            return f"{component.__name__} has no {_public(need.capability)}"
        return ""

    @pytest.fixture(autouse=True)
    def _applies(self, request: pytest.FixtureRequest) -> None:
        """Where the suite does not say the class, the component itself is asked for its capabilities."""
        check: Any = getattr(type(self), request.node.originalname, None)  # a decorated one may have another __name__
        need = NEEDS.get(check, Need())
        if need.capability is not None and class_of(type(self)) is None:
            subject = request.getfixturevalue(self.subject)
            if not isinstance(subject, need.capability):
                pytest.skip(
                    f"the {self.subject} has no {_public(need.capability)}; say component = {type(subject).__name__} "
                    f"in {type(self).__name__}, and only checks that apply are made"
                )

    @pytest.fixture(autouse=True)
    def _expects_failures(self, request: pytest.FixtureRequest) -> None:
        name, case = request.node.originalname, request.node.name
        expected = [known for known in self.expected_failures if known.split("[")[0] == name]
        if any("[" in known for known in expected):
            cases = [name, *(item.name for item in request.node.parent.collect())]
            for unknown in set(expected).difference(cases):
                pytest.fail(f"{type(self).__name__}.expected_failures names {unknown!r}, which is no case of the check")
        if reason := self.expected_failures.get(case, self.expected_failures.get(name)):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    def assert_is(self, component: object, role: type) -> None:
        """Assert that a component has what its role asks for, and no capability that its class does not show."""
        __tracebackhide__ = True
        lacking = missing_members(component, role)
        assert not lacking, f"{kind_of(component)} is no {_public(role)}: it lacks {', '.join(lacking)}"
        declared = class_of(type(self))
        if declared is not None:
            known = {NEEDS[check].capability for check in checks_of(type(self)).values() if check in NEEDS}
            unshown = [one for one in known if one is not None and not shows(declared, one)]
            hidden = sorted(_public(one) for one in unshown if not missing_members(component, one))
            assert not hidden, (
                f"the {self.subject} has {', '.join(hidden)}, which its class {declared.__name__} does not show, "
                "so that no check of it is made: annotate what __init__ sets in the class, such as concurrency: int"
            )


def class_of(suite: type[Contract]) -> type | None:
    """The class that a suite says; None if its `component` is something else, such as a fixture of its own."""
    return suite.component if isinstance(suite.component, type) else None


def checks_of(suite: type) -> dict[str, Callable[..., None]]:
    """The checks of a suite by name, with those that it does not make of its component."""
    found = {name: getattr(suite, name) for name in dir(suite) if name.startswith("test_")}
    checks = {name: known.check if isinstance(known, NotMade) else known for name, known in found.items()}
    return {name: check for name, check in checks.items() if inspect.isfunction(check)}


def shows(component: type, capability: type) -> bool:
    """Whether a class has the members of an optional capability, as methods, properties or annotations."""
    annotated = {name for base in component.__mro__ for name in inspect.get_annotations(base)}
    return annotated.issuperset(missing_members(component, capability))


def _public(capability: type) -> str:
    return f"saeviz.{capability.__name__}"


def assert_equal(found: object, expected: object, what: str) -> None:
    """Assert that `what`, such as "item_ids after two batches", is as expected; says where lists differ."""
    __tracebackhide__ = True
    if found == expected:
        return
    if isinstance(found, list) and isinstance(expected, list):
        raise AssertionError(f"{what} {difference(found, expected)}")
    raise AssertionError(f"{what} is {quoted(found)}, not {quoted(expected)}")


def difference(found: Sequence[object], expected: Sequence[object]) -> str:
    """How one list differs from another, in words."""
    lacking = [one for one in expected if one not in found]
    besides = [one for one in found if one not in expected]
    if lacking and besides:
        return f"lack {quoted(lacking)} and have {quoted(besides)} instead"
    if lacking or besides:
        what = f"lack {quoted(lacking)}" if lacking else f"have {quoted(besides)}, which was not expected"
        return f"{what}: {len(found)} instead of {len(expected)}"
    if twice := [one for one in found if list(found).count(one) > list(expected).count(one)]:
        return f"have {quoted(twice[0])} more than once"
    if len(found) != len(expected):
        return f"are {len(found)} instead of {len(expected)}"
    place = next(place for place, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1])
    return f"are in another order: {quoted(found[place])} at place {place}, where {quoted(expected[place])} belongs"


def assert_names(error: Exception, name: str) -> None:
    """Assert that an error has a message, and that it names the thing that it is about."""
    __tracebackhide__ = True
    kind = type(error).__name__
    assert str(error).strip(), f"a {kind} is raised that says nothing; a sentence that names the thing was expected"
    assert name in str(error), f"the {kind} does not name {quoted(name)}: {error}"


@contextmanager
def refused(kind: type[Exception], what: str, naming: str = "") -> Iterator[None]:
    """Assert that `what`, such as "a batch of another width", is refused with this error, which names the thing."""
    __tracebackhide__ = True
    try:
        yield
    except kind as error:
        assert_names(error, naming)
    else:
        raise AssertionError(f"{what} is not refused: saeviz.{kind.__name__} was expected")
