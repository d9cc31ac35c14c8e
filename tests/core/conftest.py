"""The finished run of fakes for tests that change nothing in it: opened, and served in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import saeviz
from tests.live import FAKES, asking


@pytest.fixture(scope="module")
def run(finished_once: Path) -> saeviz.Run:
    return saeviz.open_run(finished_once, plugins=FAKES)


@pytest.fixture(scope="module")
def client(finished_once: Path) -> Iterator[TestClient]:
    with asking(finished_once) as client:
        yield client
