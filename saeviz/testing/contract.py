"""What all contract suites share: checks that are expected to fail, by name and with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest


class Contract:
    """A suite of checks, each of which is a sentence about what components of a role do."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks that the component is known not to pass, each with the reason.

    They are reported as expected failures; one that passes after all is a failure, so that the list stays true.
    """

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, reason in cls.expected_failures.items():
            if not (name.startswith("test_") and hasattr(cls, name)):
                raise TypeError(f"{cls.__name__}.expected_failures names {name!r}, which is no check of this suite")
            if not (isinstance(reason, str) and reason.strip()):
                raise TypeError(f"{cls.__name__}.expected_failures: say in words why {name} fails")

    @pytest.fixture(autouse=True)
    def _expects_failures(self, request: pytest.FixtureRequest) -> None:
        reason = self.expected_failures.get(request.function.__name__)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
