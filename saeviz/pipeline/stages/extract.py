"""Images to sparse features in the store."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.made import Made
from saeviz.formats.of_images import append_of_images, mend_of_images, read_of_images, write_of_images
from saeviz.formats.plain import one_line
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.extraction import Extraction, together
from saeviz.pipeline.stages.score_work import state_files
from saeviz.pipeline.stages.shards import SharedStage, is_shared, made_by_workers, reset_made
from saeviz.pipeline.worker import WorkerSession
from saeviz.values.duplicates import warning_about
from saeviz.values.errors import ConfigError, DataError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.images import ImageItem
from saeviz.values.keys import record_of


class Extract(SharedStage):
    """Runs the extractor over the images that the store does not have."""

    name = "extract"

    def identity(self, session: Session) -> Any:
        """The extractor; adding or removing images, or choosing another store, does not recompute the others."""
        identities = [session.components.identity(config) for config in session.config.extractors]
        return [identities if session.config.has_named_extractors else identities[0], session.config.run.precision]

    def is_complete(self, session: Session) -> bool:
        """Whether the features are in the run's store or a verified copy of it, and no image is pending."""
        return _holds_features_of_this_run(session) and not _pending(session)

    def reset(self, session: Session) -> None:
        """Empty the store if this run has written to it or the user asked for it."""
        if not session.redo and not _holds_features_of_this_run(session):
            _refuse_a_store_that_holds_something(session)
        reset_made(session, self)
        state_files(session.rundir).clear()  # a killed run's, of the features that go
        session.components.store.clear()
        session.dataset.look_again()
        session.rundir.items.unlink(missing_ok=True)
        session.rundir.of_images.unlink(missing_ok=True)

    def todo(self, session: Session, *, anew: bool) -> list[ImageItem]:
        """The images without features of their present pictures."""
        return list(session.dataset.items) if anew else _pending(session)

    def make(self, session: WorkerSession, items: Sequence[ImageItem]) -> Generator[int, None, Made]:
        """The features of items, by every extractor of the run."""
        batches: dict[FeatureSpace, list[FeatureBatch]] = {}
        provenance: dict[str, Any] = {}
        n_done = 0
        for config in session.config.extractors:
            lost = session.left_out()  # by another extractor
            rest = [item for item in items if item.item_id not in lost]
            own: dict[FeatureSpace, set[str]] = {space: set() for space in session.dataset.spaces_of(config)}
            extraction = Extraction(session, config, rest, own, lambda _: None)
            for batch in extraction.batches():
                batches.setdefault(batch.space, []).append(batch)
                if config is session.config.extractors[-1] and batch.space == list(own)[-1]:
                    n_done += len(batch)
                    yield len(batch)
            _list_what_was_not_handed_over(session, extraction)
            provenance |= extraction.provenance.get("provenance", {})
        yield len(items) - n_done
        order = [item.item_id for item in items]
        features = [together(batches[space], order) for space in sorted(batches)]
        return Made(features, failures=session.failures, provenance={"provenance": provenance} if provenance else {})

    def run(self, session: Session) -> Mapping[str, Any]:
        """Extract pending images; each batch is stored before the next one is computed."""
        session.dataset.look_again()  # failures are retried
        _refuse_another_runs_store(session)
        _settle_in_store(session)
        mend_of_images(session.rundir.of_images)
        spaces = session.dataset.spaces
        pending = _pending(session)
        logger.info("extract: %d of %d images to do in %s", len(pending), len(session.dataset.items), _names(spaces))
        twice = warning_about(session.dataset.items)
        if twice:
            logger.warning("images: %s", one_line(twice))
        same = _with_the_same_picture(session, pending)
        _remember_fingerprints(session, still_to_do={item.item_id for item in pending})
        written = {space: same.intersection(session.components.store.item_ids(space)) for space in spaces}
        if is_shared(session, self):
            _take_from_workers(session, self, pending, written)
        else:
            for config in session.config.extractors if pending else ():
                _add_provenance(session, _extract_with(session, config, pending, written))
        session.dataset.look_again()
        done = session.dataset.extracted
        if not done:
            raise DataError(
                f"none of the {len(session.dataset.items)} images could be used; "
                f"{session.rundir.failures.path} says why for each"
            )
        new = set.intersection(*written.values())
        _remember_fingerprints(session, still_to_do={item.item_id for item in pending} - new)
        of_images = read_of_images(session.rundir.of_images)
        if of_images:
            others = (item_id for values in of_images.values() for item_id in values)  # kept, as a store keeps them
            ids = dict.fromkeys([*(item.item_id for item in done), *others])
            write_of_images(session.rundir.of_images, of_images, list(ids))
        return {
            "store": session.config.store.identity(),
            "counts": {"images": len(session.dataset.items), "extracted": len(done)},
            "spaces": [record_of(space) for space in spaces],
            "of_images": list(of_images),
            "outputs": [session.rundir.items, session.rundir.of_images],
            **_known_provenance(session),
        }


def _extract_with(
    session: Session,
    config: ComponentConfig,
    pending: Sequence[ImageItem],
    written: Mapping[FeatureSpace, set[str]],
) -> Mapping[str, Any]:
    """Extract the pending images by one of the run's extractors; returns the provenance of its features."""
    lost = session.rundir.failures.of("extract")  # by another extractor
    spaces = session.dataset.spaces_of(config) if config.name else session.dataset.spaces
    own = {space: written[space] for space in spaces}
    done = set.intersection(*own.values())  # before a run was killed while another extractor was at work
    pending = [item for item in pending if item.item_id not in lost and item.item_id not in done]
    extraction = Extraction(session, config, pending, own, partial(_tell_of_other_provenance, session))
    for batch in extraction.batches():
        _store(session, batch)
    _list_what_was_not_handed_over(session, extraction)
    _list_what_was_not_kept(session, pending, own)
    return extraction.provenance


def _store(session: Session, batch: FeatureBatch) -> None:
    if batch.of_images:  # before its features: an image that has these counts as done
        append_of_images(session.rundir.of_images, batch)
    session.components.store.write(batch)


def _take_from_workers(
    session: Session,
    stage: Extract,
    pending: Sequence[ImageItem],
    written: Mapping[FeatureSpace, set[str]],
) -> None:
    """Store the features that workers extract of the pending images."""
    for made in made_by_workers(session, stage, pending):
        _tell_of_other_provenance(session, made.provenance)
        for batch in made.features:
            _store(session, batch)
            written[batch.space].update(batch.item_ids)
        for item_id, error in made.failures:
            session.failed(item_id, error)
    _list_what_was_not_kept(session, pending, written)


def _list_what_was_not_handed_over(session: Session, extraction: Extraction) -> None:
    """Record as a failure every image of which an extractor gave neither features nor the reason."""
    explained, who = session.left_out(), session.components.who(extraction.config)
    for item_id, spaces in extraction.lacking():
        if item_id not in explained:
            session.failed(item_id, f"{who} gave no features of it in {_names(spaces)}, and no reason")


def _list_what_was_not_kept(
    session: Session, pending: Sequence[ImageItem], written: Mapping[FeatureSpace, set[str]]
) -> None:
    """Record as a failure every image with features that the store has lost."""
    explained, who = session.left_out(), session.components.who(session.config.store)
    kept = {space: set(session.components.store.item_ids(space)) for space in written}
    for item_id in (item.item_id for item in pending if item.item_id not in explained):
        lost = [space for space, ids in kept.items() if item_id not in ids]
        if lost:
            session.failed(item_id, f"{who} did not keep its features in {_names(lost)}, and gave no reason")


def _pending(session: Session) -> list[ImageItem]:
    done = {item.item_id for item in session.dataset.extracted}
    if done and not session.rundir.items.exists():
        return list(session.dataset.items)  # it is unknown which pictures the features belong to
    before, now = _fingerprints(session), session.dataset.fingerprints
    done -= _with_lost_numbers(session, done)
    return [
        item
        for item in session.dataset.items
        if item.item_id not in done or before.get(item.item_id, now[item.item_id]) != now[item.item_id]
    ]


def _with_lost_numbers(session: Session, done: set[str]) -> set[str]:
    """Items of which the extractor's numbers were written down and are lost, as the file was damaged."""
    columns = session.rundir.read_manifest()["stages"].get("extract", {}).get("of_images", [])
    known = read_of_images(session.rundir.of_images) if columns else {}
    return set().union(*(done - known.get(str(name), {}).keys() for name in columns))


def _with_the_same_picture(session: Session, pending: Sequence[ImageItem]) -> set[str]:
    """The pending items whose features in the store, if there are any, are of the picture as it is now."""
    before, now = _fingerprints(session), session.dataset.fingerprints
    same = {item.item_id for item in pending if before.get(item.item_id) == now[item.item_id]}
    return same - _with_lost_numbers(session, same)


def _fingerprints(session: Session) -> dict[str, str]:
    if not session.rundir.items.exists():
        return {}
    table = session.rundir.read_table(session.rundir.items, "extract")
    return dict(zip(table["item_id"], table["fingerprint"], strict=True))


def _remember_fingerprints(session: Session, still_to_do: set[str]) -> None:
    """Record the fingerprint of the picture that each item's features belong to.

    A changed picture keeps its old fingerprint until it is extracted again, so that old features are not mistaken for
    new ones after a crash or if the picture cannot be read.
    """
    import pandas as pd

    before = _fingerprints(session)
    now = {
        item_id: before.get(item_id, fingerprint) if item_id in still_to_do else fingerprint
        for item_id, fingerprint in session.dataset.fingerprints.items()
    }
    table = pd.DataFrame({"item_id": list(now), "fingerprint": list(now.values())}, dtype="str")
    session.rundir.write_table(session.rundir.items, table)


def _holds_features_of_this_run(session: Session) -> bool:
    """Whether this run wrote to the configured store, or to one that was later copied to it."""
    record = session.rundir.read_manifest()["stages"].get("extract", {})
    return session.config.store.identity() in [record.get("store"), *record.get("copies", [])]


def _settle_in_store(session: Session) -> None:
    """Record the store before anything is written; new features are not in earlier copies."""
    manifest = session.rundir.read_manifest()
    record = manifest["stages"]["extract"]
    if "finished" in record and not _kept(session):
        logger.info("extract: the store %s has no features of this run: all are extracted", session.config.store.use)
    record["store"] = session.config.store.identity()
    record.pop("copies", None)
    session.rundir.write_manifest(manifest)


def _refuse_a_store_that_holds_something(session: Session) -> None:
    kept = _kept(session)
    if kept:
        raise ConfigError(
            f"store: {session.config.store.use} already holds features of {len(kept)} images that this run did "
            f"not write; use an empty one, copy this run's features with `saeviz store copy {session.rundir.path} TO`, "
            "or delete its content with --redo extract"
        )


def _kept(session: Session) -> set[str]:
    return {
        item_id for space in session.components.store.spaces() for item_id in session.components.store.item_ids(space)
    }


def _refuse_another_runs_store(session: Session) -> None:
    if not _holds_features_of_this_run(session):
        _refuse_a_store_that_holds_something(session)
    kept = _kept(session)
    if kept and kept.isdisjoint(item.item_id for item in session.dataset.items):
        raise ConfigError(
            f"run.dir: {session.rundir.path} holds features of {len(kept)} other images (such as "
            f"{min(kept)!r}); choose another run.dir, or delete them with --redo extract"
        )


def _tell_of_other_provenance(session: Session, found: Mapping[str, Any]) -> None:
    """Warn if earlier features of the run came from other files, for example after an update on the hub."""
    manifest = session.rundir.read_manifest()
    record = manifest["stages"]["extract"]
    before, now = record.get("provenance", {}), found.get("provenance", {})
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            logger.warning(
                "extract: %s is now %s; it was %s for features that the run has already; "
                "--redo extract recomputes all from the same files", name, now[name], before[name]
            )  # fmt: skip
    _add_provenance(session, found)


def _add_provenance(session: Session, found: Mapping[str, Any]) -> None:
    """Record where features come from, beside what is known of other extractors and of earlier features."""
    if not found.get("provenance"):
        return
    manifest = session.rundir.read_manifest()
    record = manifest["stages"]["extract"]
    before = record.get("provenance", {}) if session.config.has_named_extractors else {}
    record["provenance"] = {**before, **found["provenance"]}
    session.rundir.write_manifest(manifest)


def _known_provenance(session: Session) -> dict[str, Any]:
    record = session.rundir.read_manifest()["stages"]["extract"]
    return {"provenance": record["provenance"]} if "provenance" in record else {}


def _names(spaces: Iterable[Any]) -> str:
    return ", ".join(map(str, spaces))
