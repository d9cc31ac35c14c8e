"""Call a labeler or judge for many features."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import ConcurrentLabeler, Labeler, LabelJudge, MeteredLabeler, can
from saeviz.pipeline.session import Session
from saeviz.pipeline.threads import outcomes
from saeviz.values.errors import ConfigError, LabelError, PausedError, SaevizError
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem
from saeviz.values.naming import FeatureLabel, LabelRequest

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


MOST_THREADS = 1000
"""However many a labeler recommends."""


class AboutFeature(Protocol):
    """A question about one feature."""

    @property
    def feature(self) -> Feature:
        """The feature."""
        ...


class AboutLabel(AboutFeature, Protocol):
    """A question about the label of a feature."""

    @property
    def words(self) -> FeatureLabel:
        """What a judge is told: label and description."""
        ...


Q = TypeVar("Q", bound=AboutFeature)
A = TypeVar("A")


def answers(
    ask: Callable[[Q], A],
    waiting: Mapping[str, Q],
    labeler: object,
    session: Session,
    config: ComponentConfig,
    done: str,
) -> Generator[tuple[str, A]]:
    """Yields each answer as soon as it arrives, with the key of its question. A `LabelError` is recorded as a failure.

    If the labeler pauses or fails for good, no further call starts, and answers of calls in progress are still yielded;
    the features that are not `done` then, or only in part, are recorded as one failure. A `ConcurrentLabeler` is called
    from several threads.
    """
    stop, settled = Event(), set[str]()
    paused: PausedError | None = None
    failed: SaevizError | None = None
    n_threads = _n_threads(labeler, session, config)
    results = outcomes(lambda entry: ask(entry[1]), waiting.items(), n_threads, stop)
    try:
        for (key, question), future in session.progress(results, len(waiting), session.stage):
            try:
                yield key, future.result()
                settled.add(key)
            except LabelError as error:
                session.failed(str(question.feature), str(error))
                settled.add(key)
            except PausedError as error:
                paused = paused or error
                stop.set()
            except SaevizError as error:
                failed = failed or error
                stop.set()
    finally:
        stop.set()
    if failed:
        raise failed
    if paused:
        left = {question.feature for key, question in waiting.items() if key not in settled}
        session.failed(f"{len(left)} features", f"not {done} yet: {paused}")


def judge_of(session: Session, config: ComponentConfig) -> LabelJudge:
    """The run's judge; raises `ConfigError` if the chosen labeler cannot judge."""
    judge = session.components.component("judge")
    if not isinstance(judge, LabelJudge):
        raise ConfigError(f"judge: the labeler {config.use} cannot judge labels; use another, or judge.use = 'none'")
    return judge


def scores_of(
    judge: LabelJudge, question: AboutLabel, images: Sequence[ImageItem], session: Session, config: ComponentConfig
) -> FloatArray:
    """The judge's score of a label for each image; raises `PluginError` if it gives anything but such scores."""
    with session.components.blaming(config):
        found = judge.judge(question.words, list(images))
    return handover.judged(session.components.who(config), question.feature, found, len(images))


def named(labeler: Labeler, request: LabelRequest, session: Session, config: ComponentConfig) -> FeatureLabel:
    """The labeler's label of a feature, cleaned; raises `LabelError` if it gives none that can be used."""
    with session.components.blaming(config):
        label = labeler.label(request)
    return handover.label(session.components.who(config), label, request.feature)


def usage_of(labeler: object, session: Session, config: ComponentConfig) -> dict[str, Any]:
    """The usage of a metered labeler for the manifest, else empty."""
    with session.components.blaming(config):
        if not can(labeler, MeteredLabeler):
            return {}
        return {"usage": handover.usage(session.components.who(config), "usage", labeler.usage)._asdict()}


def _n_threads(labeler: object, session: Session, config: ComponentConfig) -> int:
    with session.components.blaming(config):
        if not can(labeler, ConcurrentLabeler):
            return 1
        asked = handover.count(session.components.who(config), "concurrency", labeler.concurrency)
        return min(asked, MOST_THREADS)
