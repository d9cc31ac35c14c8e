"""The labels that a run needs, with the inputs of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.labels import LABELS, LabelLine, ShownIds
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.requests import label_requests
from saeviz.pipeline.session import Session
from saeviz.values.naming import LabelRequest


@dataclass(frozen=True)
class Wanted:
    """The labels that a run needs, by a digest of their inputs: all of them, existing ones, and missing ones."""

    requests: Mapping[str, LabelRequest]
    kept: Mapping[str, LabelLine]

    @property
    def waiting(self) -> dict[str, LabelRequest]:
        """The requests without a label."""
        return {key: request for key, request in self.requests.items() if key not in self.kept}

    @classmethod
    def of(cls, session: Session, config: ComponentConfig) -> Wanted:
        """The labels needed by the run directory; raises `RunDirError` if no features have been selected yet."""
        made_by = _made_by(session, config)
        requests = {_key(made_by, request): request for request in label_requests(session)}
        known = LABELS.read(session.rundir.labels)
        kept = {
            key: known[request.feature]._replace(shown=shown_by(request))
            for key, request in requests.items()
            if request.feature in known and known[request.feature].key == key
        }
        return cls(requests, kept)


def is_settled(session: Session, redo: Collection[str]) -> bool:
    """Whether the labels of the run will not change, so that requests need not be rebuilt."""
    record = session.rundir.read_manifest()["stages"].get("label", {})
    is_done = "finished" in record and not record.get("failed")
    return is_done and record["digest"] == session.digests.get("label") and "label" not in redo


def shown_by(request: LabelRequest) -> ShownIds:
    """The ids of the images of a request."""
    return ShownIds(tuple(top.item.item_id for top in request.top), tuple(item.item_id for item in request.contrast))


def lines_of(session: Session) -> list[LabelLine]:
    """The lines of labels, each with what the labeler was given; where one does not say, it is put together again."""
    lines = [*LABELS.read(session.rundir.labels).values()]
    if all(line.shown for line in lines):
        return lines
    again = {request.feature: shown_by(request) for request in label_requests(session)}
    known = (line._replace(shown=line.shown or again.get(line.feature)) for line in lines)
    return [line for line in known if line.shown]


def key_of_request(session: Session, config: ComponentConfig, request: LabelRequest) -> str:
    """The digest of all inputs of a label, which its line has."""
    return _key(_made_by(session, config), request)


def _made_by(session: Session, config: ComponentConfig) -> list[Any]:
    return [session.components.identity(config), session.dataset.data_digest]


def _key(made_by: Any, request: LabelRequest) -> str:
    """A digest of all inputs of a label, so that an unchanged request is not paid for twice."""
    return digest_of(
        [
            made_by,
            str(request.feature),
            [[top.item.item_id, round(top.activation, 4)] for top in request.top],
            [item.item_id for item in request.contrast],
            [[relation.rating, f"{relation.r:.4f}", relation.measure] for relation in request.relations],
            {name: f"{value:.4f}" for name, value in request.scores.items()},
        ]
    )
