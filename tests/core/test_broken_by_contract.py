"""The contract suite of each role finds every plugin that a run refuses."""

from __future__ import annotations

from typing import Any

import pytest

import saeviz
from saeviz.testing import (
    EmbeddingProviderContract,
    ExecutorContract,
    FeatureExtractorContract,
    FeatureStoreContract,
    ImageProviderContract,
    LabelerContract,
    ReporterContract,
    ScorerContract,
    SelectorContract,
    fakes,
)
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.embedders import unreadable
from saeviz.testing.images import images_of
from saeviz.testing.reporters import copied, finished
from tests.broken_plugins import BROKEN, KINDS, Row
from tests.core.test_testing_contracts import failing

SUITES = {
    "images": ImageProviderContract,
    "extractor": FeatureExtractorContract,
    "store": FeatureStoreContract,
    "embeddings": EmbeddingProviderContract,
    "scorer": ScorerContract,
    "selector": SelectorContract,
    "labeler": LabelerContract,
    "judge": LabelerContract,
    "reporter": ReporterContract,
    "executor": ExecutorContract,
}
CASES = [pytest.param(role, row, id=f"{role}: {row.what}") for role, found in BROKEN.items() for row in found]


@pytest.mark.parametrize(("role", "row"), CASES)
def test_what_a_run_refuses_its_suite_finds(tmp_path_factory, role: str, row: Row):
    inside = {"in_process": True} if role == "executor" else {}  # a worker that dies would be this process
    kind = type("Broken", (KINDS[role],), {**inside, row.method: row.broken(role)})
    suite = type("Suite", (SUITES[role],), {"component": kind, "has_workers": False})
    failed, _ = next(failing(suite, lambda: fixtures(role, kind, tmp_path_factory)), ("", ""))
    assert failed, f"no check of {SUITES[role].__name__} fails"


def fixtures(role: str, kind: type, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the checks of a suite ask for."""
    folder = tmp_path_factory.mktemp("contract")
    items = [*pictures(24), unreadable()]
    surroundings = Surroundings(folder, items)
    context = surroundings.context
    known: dict[str, Any] = {"surroundings": surroundings, "tmp_path": folder}
    if role == "images":
        made = kind(fakes.FakeImagesOptions(n=6, unrated=2), context)
        return {"provider": made, "items": list(images_of(made))}
    if role == "store":
        store = kind()
        return {"store": store, "open_store": lambda: store}
    options = {
        "extractor": fakes.FakeExtractorOptions(),
        "embeddings": fakes.Slow(),
        "labeler": fakes.FakeLabelerOptions(),
        "judge": fakes.FakeLabelerOptions(),
        "executor": fakes.FakeExecutorOptions(),
    }.get(role, saeviz.Options())
    names = {"embeddings": "embedder", "judge": "labeler"}

    def make(context: saeviz.Context) -> Any:
        return kind(options, context)

    known |= {names.get(role, role): make(context), "make": make}
    if role in ("labeler", "judge"):
        known |= {"judge": known["labeler"], "request_of_colours": label_request(pictures(24))}
    if role == "reporter":
        known["run"] = copied(finished(tmp_path_factory.getbasetemp()), folder / "run")
    return known
