"""Selected features to names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import Labeler, MeteredLabeler
from saeviz.formats.labels import LabelLine, append_label, mend_labels, read_labels, write_labels
from saeviz.formats.rundir import digest_of
from saeviz.formats.selection import read_selected, write_names
from saeviz.pipeline.naming.calls import answers, usage_of
from saeviz.pipeline.naming.estimates import LATER, in_words, is_selected
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.errors import LabelError, PluginError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import KEYS, by_feature, rows_about
from saeviz.values.label_words import checked
from saeviz.values.naming import FeatureLabel, LabelRequest, TopImage, Usage
from saeviz.values.relations import main_relation, measure_of, relation_prefixes
from saeviz.values.scores import Relation, Selected

if TYPE_CHECKING:
    import pandas as pd

N_CONTRAST = 9
"""Silent images shown beside the top ones."""


class Label(Stage):
    """Runs the labeler over the selected features; every name is kept at once."""

    name = "label"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` for what is missing around the labeler."""
        if session.config.labeler:
            session.components.check_ready(session.config.labeler)

    def estimate(self, session: Session, redo: Collection[str]) -> str:
        """How many features wait for a name, and what naming them takes."""
        config = session.config.labeler
        if config is None:
            return "would run without a labeler"
        if not is_selected(session):
            return f"would run {config.use}; {LATER}"
        n_waiting, n_features, usage = estimate(session, config, anew=self.name in redo)
        return in_words(f"{n_waiting} of {n_features} features to name with {config.use}", usage)

    def identity(self, session: Session) -> Any:
        """The labeler and the selection."""
        return [session.components.identity(session.config.labeler), session.digests["select"]]

    def is_complete(self, session: Session) -> bool:
        """The file is there, or none is wanted."""
        return session.config.labeler is None or session.rundir.labels.exists()

    def reset(self, session: Session) -> None:
        """Nothing, unless the user asked: each line knows what it was made from; one that no longer holds is not used.

        Names that are asked for anew are forgotten. What they cost is not.
        """
        if session.redo:
            session.rundir.labels.unlink(missing_ok=True)

    def run(self, session: Session) -> Mapping[str, Any]:
        """Name what has no name yet. A feature that cannot be named is listed and left without."""
        path, config = session.rundir.labels, session.config.labeler
        if config is None:
            path.unlink(missing_ok=True)
            write_names(session.rundir, {})
            return {"counts": {"labeled": 0}, "outputs": [session.rundir.selected]}
        if n_damaged := mend_labels(path):
            logger.warning("label: %d lines of %s are damaged; their features are named again", n_damaged, path)
        wanted = Wanted.of(session, config)
        kept = dict(wanted.kept)
        write_labels(path, kept.values())
        logger.info("label: %d of %d features to name with %s", len(wanted.waiting), len(wanted.requests), config.use)
        usage = {}
        if wanted.waiting:
            labeler = session.components.component("labeler")

            def name(request: LabelRequest) -> FeatureLabel:
                return _name(labeler, request, session, config)

            with closing(answers(name, wanted.waiting, labeler, session, "named")) as names:
                for key, label in names:
                    kept[key] = LabelLine(wanted.requests[key].feature, key, label)
                    append_label(path, kept[key])
            usage = usage_of(labeler)
        write_labels(path, [kept[key] for key in wanted.requests if key in kept])
        write_names(session.rundir, {line.feature: line.label for line in kept.values()})
        n_labeled = sum(bool(line.label.label) for line in kept.values())
        outputs = [path, session.rundir.selected]  # it has the names, too
        return {"counts": {"labeled": n_labeled, "new": len(wanted.waiting)}, "outputs": outputs, **usage}


@dataclass(frozen=True)
class Wanted:
    """The names that a run wants: all of them by what they are made from, those it has, those that are waiting."""

    requests: Mapping[str, LabelRequest]
    kept: Mapping[str, LabelLine]

    @property
    def waiting(self) -> dict[str, LabelRequest]:
        """What there is no name for yet."""
        return {key: request for key, request in self.requests.items() if key not in self.kept}

    @classmethod
    def of(cls, session: Session, config: ComponentConfig) -> Wanted:
        """As the run directory is now; raises `RunDirError` where the features are not selected yet."""
        made_by = [session.components.identity(config), session.dataset.data_digest]
        requests = {_key(made_by, request): request for request in _requests(session)}
        known = read_labels(session.rundir.labels)
        kept = {
            key: known[request.feature]
            for key, request in requests.items()
            if request.feature in known and known[request.feature].key == key
        }
        return cls(requests, kept)


def estimate(session: Session, config: ComponentConfig, *, anew: bool = False) -> tuple[int, int, Usage | None]:
    """How many features wait for a name, of how many, and what naming them takes: None where the labeler is free.

    With `anew` all of them wait. Raises `RunDirError` where the features are not selected yet.
    """
    wanted = Wanted.of(session, config)
    waiting = [*(wanted.requests if anew else wanted.waiting).values()]
    labeler = session.components.component("labeler")
    with session.components.blaming(config):
        usage = labeler.estimate(waiting) if isinstance(labeler, MeteredLabeler) else None
    return len(waiting), len(wanted.requests), usage


def _name(labeler: Labeler, request: LabelRequest, session: Session, config: ComponentConfig) -> FeatureLabel:
    with session.components.blaming(config):
        label = labeler.label(request)
    who = session.components.who(config)
    if not isinstance(label, FeatureLabel):
        raise PluginError(f"{who} gave {type(label).__name__} for {request.feature}, not a FeatureLabel")
    handover.refuse_details(who, label, request.feature)
    try:
        return checked(label)
    except TypeError as error:
        raise PluginError(f"{who} gave a label of {request.feature} whose {error}") from None
    except ValueError as error:
        raise LabelError(f"{who} gave {request.feature} no usable name: {error}") from None


def _key(made_by: Any, request: LabelRequest) -> str:
    """Stands for all that a name is made from, so that an unchanged request is not paid for twice."""
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


def _requests(session: Session) -> Iterator[LabelRequest]:
    rundir = session.rundir
    selected = read_selected(rundir)
    dataset = tuple(session.dataset.extracted)
    by_id = {item.item_id: item for item in dataset}
    features = [choice.feature for choice in selected]
    top_images = by_feature(rows_about(rundir.read_table(rundir.top_images, "score"), features))
    scores = by_feature(rows_about(rundir.read_table(rundir.scores, "score"), features))
    relations = rows_about(rundir.read_table(rundir.correlations, "score"), features)
    measure = _measure(relations, session)
    correlations = by_feature(main_relation(relations))
    contrast = _contrast(session, selected, dataset)
    for choice in selected:
        feature = choice.feature
        top = top_images[feature].sort_values("rank") if feature in top_images else None
        yield LabelRequest(
            feature=feature,
            tier=choice.tier,
            top=() if top is None else tuple(_top_images(top, by_id)),
            contrast=contrast[feature],
            scores=_numbers(scores[feature]),
            relations=_relations(correlations.get(feature), measure),
            dataset=dataset,
        )


def _top_images(rows: pd.DataFrame, by_id: Mapping[str, ImageItem]) -> Iterator[TopImage]:
    for row in rows.itertuples():
        yield TopImage(by_id[row.item_id], float(row.activation))


def _numbers(row: pd.DataFrame) -> dict[str, float]:
    numbers = row.drop(columns=KEYS).select_dtypes("number")
    return {str(name): float(values.iloc[0]) for name, values in numbers.items()}


def _measure(correlations: pd.DataFrame, session: Session) -> str:
    """What the main correlation of the run is called."""
    facts = session.rundir.read_manifest()["stages"].get("score", {}).get("facts", {})
    return measure_of(next(iter(relation_prefixes(correlations.columns)), ""), facts)


def _relations(rows: pd.DataFrame | None, measure: str) -> tuple[Relation, ...]:
    if rows is None or not {"r", "p", "q", "n"} <= set(rows.columns):
        return ()
    known = rows[rows["n"].notna()]  # other ratings have correlations of another kind only
    relations = [
        Relation(str(row.rating), float(row.r), float(row.p), float(row.q), int(row.n), measure)
        for row in known.itertuples()
    ]
    return tuple(sorted(relations, key=lambda relation: -abs(relation.r) if relation.r == relation.r else 1.0))


def _contrast(
    session: Session, selected: Sequence[Selected], dataset: Sequence[ImageItem]
) -> dict[Feature, tuple[ImageItem, ...]]:
    """For every selected feature some images, drawn at random, on which it is silent."""
    import numpy as np

    found: dict[Feature, tuple[ImageItem, ...]] = {}
    for space in session.dataset.spaces:
        features = [choice.feature for choice in selected if choice.feature in space]
        active = _active_rows(session, space, features, dataset)
        for feature, is_active in zip(features, active, strict=True):
            silent = np.flatnonzero(~is_active)
            generator = np.random.default_rng([session.config.run.seed, feature.layer, feature.index])
            drawn = generator.choice(silent, size=min(N_CONTRAST, silent.size), replace=False)
            found[feature] = tuple(dataset[row] for row in sorted(drawn))
    return found


def _active_rows(
    session: Session, space: FeatureSpace, features: Sequence[Feature], dataset: Sequence[ImageItem]
) -> Any:
    """Bool `[len(features), len(dataset)]`, from one pass over the store."""
    import numpy as np

    active = np.zeros((len(features), len(dataset)), dtype=bool)
    if not features:
        return active
    columns = [feature.index for feature in features]
    start = 0
    for batch in session.components.store.read(space, [item.item_id for item in dataset]):
        active[:, start : start + len(batch)] = (batch.matrix[:, columns] > 0).toarray().T
        start += len(batch)
    return active
