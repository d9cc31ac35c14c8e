"""Images to sparse features in the store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import cache, partial
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.contents import OF_ITEMS
from saeviz.formats.items import read_items
from saeviz.formats.made import Made
from saeviz.formats.of_images import append_of_images, mend_of_images, tidy_of_images, which_have_numbers
from saeviz.formats.plain import one_line
from saeviz.formats.tables import table_of_texts
from saeviz.pipeline.images import Images
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.extraction import Extraction, in_all, lacking, together
from saeviz.pipeline.stages.score_work import clear_states
from saeviz.pipeline.stages.shards import SharedStage, is_shared, made_by_workers, reset_made
from saeviz.pipeline.worker import WorkerSession
from saeviz.values.duplicates import warning_about
from saeviz.values.errors import ConfigError, DataError, PluginError, RunDirError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.keys import record_of
from saeviz.values.texts import GrowingTexts, Marks, Places, Texts

if TYPE_CHECKING:
    from saeviz.typing import Mask


UNKNOWN = "unknown picture"
"""Recorded as the fingerprint of stored features if they are not, or may not be, of the picture as it is now."""


class Extract(SharedStage):
    """Runs the extractor over the images that the store does not have."""

    name = "extract"

    def identity(self, session: Session) -> Any:
        """The extractor; adding or removing images, or choosing another store, does not recompute the others."""
        identities = [session.components.identity(config) for config in session.config.extractors]
        return [identities if session.config.has_named_extractors else identities[0], session.config.run.precision]

    def is_complete(self, session: Session) -> bool:
        """Whether the features are in the run's store or a verified copy of it, and all images are listed as done."""
        return _holds_features_of_this_run(session) and not _pending(session) and _lists_all(session)

    def reset(self, session: Session) -> None:
        """Empty the store if this run has written to it or the user asked for it."""
        if not session.redo and not _holds_features_of_this_run(session):
            _refuse_a_store_that_holds_something(session)
        reset_made(session, self)
        clear_states(session.rundir)  # a killed run's, of the features that go
        session.components.store.clear()
        session.dataset.look_again()
        session.rundir.items.unlink(missing_ok=True)
        session.rundir.other_items.unlink(missing_ok=True)
        session.rundir.of_images.unlink(missing_ok=True)

    def todo(self, session: Session, *, anew: bool) -> Images:
        """The images without features of their present pictures."""
        return session.dataset.items if anew else _pending(session)

    def make(self, session: WorkerSession, items: Images) -> Generator[int, None, Made]:
        """The features of items, by every extractor of the run."""
        batches: dict[FeatureSpace, list[FeatureBatch]] = {}
        provenance: dict[str, Any] = {}
        n_done = 0
        for config in session.config.extractors:
            rest = items.without(session.left_out())  # by another extractor
            own = {space: Marks(items.where) for space in session.dataset.spaces_of(config)}
            extraction = Extraction(session, config, rest, own, lambda _: None)
            for batch in extraction.batches():
                batches.setdefault(batch.space, []).append(batch)
                if config is session.config.extractors[-1] and batch.space == list(own)[-1]:
                    n_done += len(batch)
                    yield len(batch)
            _list_what_was_not_handed_over(session, extraction)
            provenance |= extraction.provenance.get("provenance", {})
        yield len(items) - n_done
        features = [together(batches[space], items.ids) for space in sorted(batches)]
        return Made(features, failures=session.failures, provenance={"provenance": provenance} if provenance else {})

    def run(self, session: Session) -> Mapping[str, Any]:
        """Extract pending images; each batch is stored before the next one is computed."""
        import numpy as np

        session.dataset.look_again()  # failures are retried
        _refuse_another_runs_store(session)
        _settle_in_store(session)
        mend_of_images(session.rundir.of_images)
        spaces, items = session.dataset.spaces, session.dataset.items
        pending = _pending(session)
        logger.info("extract: %d of %d images to do in %s", len(pending), len(items), _names(spaces))
        twice = warning_about(items)
        if twice:
            logger.warning("images: %s", one_line(twice))
        same = _of_the_same_pictures(session)
        written = _kept_of(session, spaces)
        stored: Mask = np.logical_or.reduce([marks.mask for marks in written.values()])
        unknown = pending.mask & ~same & stored
        _remember_fingerprints(session, unknown)
        for marks in written.values():
            marks.mask &= pending.mask & same & ~_with_lost_numbers(session)
        store = _storing(session)
        if is_shared(session, self):
            _take_from_workers(session, self, pending, written, store)
        else:
            for config in session.config.extractors if pending else ():
                _add_provenance(session, _extract_with(session, config, pending, written, store))
        session.dataset.look_again()
        done = session.dataset.extracted
        if not done:
            raise DataError(
                f"none of the {len(items)} images could be used; {session.rundir.failures.path} says why for each"
            )
        _remember_fingerprints(session, unknown & ~in_all(written))
        of_images = tidy_of_images(session.rundir.of_images, done.ids)  # others are kept, as a store keeps them
        return {
            "store": session.config.store.identity(),
            "counts": {"images": len(items), "extracted": len(done)},
            "spaces": [record_of(space) for space in spaces],
            "of_images": of_images,
            "outputs": [session.rundir.items, session.rundir.other_items, session.rundir.of_images],
            **_known_provenance(session),
        }


def _extract_with(
    session: Session,
    config: ComponentConfig,
    pending: Images,
    written: Mapping[FeatureSpace, Marks],
    store: Callable[[FeatureBatch], None],
) -> Mapping[str, Any]:
    """Extract the pending images by one of the run's extractors; returns the provenance of its features."""
    lost = session.rundir.failures.of("extract")  # by another extractor
    spaces = session.dataset.spaces_of(config) if config.name else session.dataset.spaces
    own = {space: written[space] for space in spaces}
    pending = pending.without(lost).only(~in_all(own))  # some may be in a run that was killed during another extractor
    extraction = Extraction(session, config, pending, own, partial(_tell_of_other_provenance, session))
    for batch in extraction.batches():
        store(batch)
    _list_what_was_not_handed_over(session, extraction)
    _list_what_was_not_kept(session, pending, own)
    return extraction.provenance


def _storing(session: Session) -> Callable[[FeatureBatch], None]:
    """What stores a batch; before the first one, states of scores go, as they are of the features that were there."""
    clear = cache(partial(clear_states, session.rundir))

    def store(batch: FeatureBatch) -> None:
        if len(batch):
            clear()
        if batch.of_images:  # before its features: an image that has these counts as done
            append_of_images(session.rundir.of_images, batch)
        session.components.store.write(batch)

    return store


def _take_from_workers(
    session: Session,
    stage: Extract,
    pending: Images,
    written: Mapping[FeatureSpace, Marks],
    store: Callable[[FeatureBatch], None],
) -> None:
    """Store the features that workers extract of the pending images."""
    for made in made_by_workers(session, stage, pending):
        _tell_of_other_provenance(session, made.provenance)
        for batch in made.features:
            if batch.space not in written:
                folder = session.rundir.shards / stage.name
                raise RunDirError(f"{folder}: there are features of {batch.space}, which this run lacks; remove them")
            store(batch)
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


def _list_what_was_not_kept(session: Session, pending: Images, spaces: Iterable[FeatureSpace]) -> None:
    """Record as a failure every image with features that the store has lost."""
    who = session.components.who(session.config.store)
    for item_id, lost in lacking(pending.without(session.left_out()), _kept_of(session, spaces)):
        session.failed(item_id, f"{who} did not keep its features in {_names(lost)}, and gave no reason")


def _kept_of(session: Session, spaces: Iterable[FeatureSpace]) -> dict[FeatureSpace, Marks]:
    """Which images of the run the store has."""
    where, store = session.dataset.items.where, session.components.store
    return {space: Marks(where, store.item_ids(space)) for space in spaces}


def _pending(session: Session) -> Images:
    items, done = session.dataset.items, session.dataset.extracted.mask
    # Of an image without a record it is unknown which picture the features belong to.
    return items.only(~done | ~_of_the_same_pictures(session) | _with_lost_numbers(session))


def _lists_all(session: Session) -> bool:
    """Whether `items.parquet`, which others read, has all images: one that comes back is not pending."""
    listed = Marks(session.dataset.items.where)
    for ids, _ in _recorded_in(session, session.rundir.items):
        listed.update(ids)
    return bool(listed.mask.all())


def _with_lost_numbers(session: Session) -> Mask:
    """The images of which the extractor's numbers were written down and are lost, as the file was damaged."""
    import numpy as np

    items = session.dataset.items
    columns = session.rundir.read_manifest()["stages"].get("extract", {}).get("of_images", [])
    known = which_have_numbers(session.rundir.of_images, items.where) if columns else {}
    there = np.ones(len(items), dtype=bool)
    for name in columns:
        there &= known.get(str(name), False)
    return ~there


def _of_the_same_pictures(session: Session) -> Mask:
    """The images whose pictures have the fingerprint that is recorded of their features."""
    import numpy as np

    items = session.dataset.items
    known, same = (np.zeros(len(items), dtype=bool) for _ in range(2))
    for path in (session.rundir.items, session.rundir.other_items):  # of an image in both, the first one counts
        for ids, marks in _recorded_in(session, path):
            places = items.where.of(ids)
            now = items.fingerprints.take(places[places >= 0])
            for place, mark, mark_now in zip(places[places >= 0], compress(marks, places >= 0), now, strict=True):
                if not known[place]:
                    known[place], same[place] = True, mark == mark_now
    return same


def _remember_fingerprints(session: Session, unknown: Mask) -> None:
    """Record the fingerprint of the picture that each item's features belong to.

    Until a changed picture is extracted again, its features count as those of an `unknown` one, so that they are not
    mistaken for those of a present picture after a crash or if it cannot be read.
    """
    _remember_others(session)
    items = session.dataset.items
    now = items.fingerprints
    if unknown.any():
        now = Texts.of(UNKNOWN if unknown[row] else mark for row, mark in enumerate(items.fingerprints))
    table = table_of_texts({"item_id": items.ids, "fingerprint": now})
    session.rundir.write_table(session.rundir.items, table, OF_ITEMS)


def _remember_others(session: Session) -> None:
    """Record the fingerprints of images that are not listed now, as the store keeps their features.

    Written before `items.parquet` loses them. One of an image that is listed again stays here until `items.parquet`,
    which counts, has it, too: so a run that is killed in between loses none.
    """
    path, ids, marks = session.rundir.other_items, GrowingTexts(), GrowingTexts()
    for item_id, mark in _records_of_others(session):
        ids.append(item_id)
        marks.append(mark)
    table = table_of_texts({"item_id": ids.texts(), "fingerprint": marks.texts()})
    if len(table):
        session.rundir.write_table(path, table, OF_ITEMS)
    else:
        path.unlink(missing_ok=True)


def _records_of_others(session: Session) -> Iterator[tuple[str, str]]:
    """Each id and fingerprint that `items.parquet` has of an image not listed now, and all that only the other has."""
    where, gone = session.dataset.items.where, GrowingTexts()
    listed = Marks(where)
    for ids, marks in _recorded_in(session, session.rundir.items):
        places = where.of(ids)
        listed.mask[places[places >= 0]] = True
        for item_id, mark in compress(zip(ids, marks, strict=True), places < 0):
            gone.append(item_id)
            yield item_id, mark
    found = Places(gone.texts())
    for ids, marks in _recorded_in(session, session.rundir.other_items):
        places = where.of(ids)
        yield from compress(zip(ids, marks, strict=True), (found.of(ids) < 0) & ((places < 0) | ~listed.mask[places]))


def _recorded_in(session: Session, path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and fingerprints in a file that may not be there, some thousand at a time."""
    if path.exists():
        session.rundir.verify(path, "extract")
        yield from read_items(path)


def _holds_features_of_this_run(session: Session) -> bool:
    """Whether this run wrote to the configured store, or to one that was later copied to it."""
    record = session.rundir.read_manifest()["stages"].get("extract", {})
    return any(map(session.config.store.is_recorded_as, [record.get("store"), *record.get("copies", [])]))


def _settle_in_store(session: Session) -> None:
    """Record the store before anything is written; new features are not in earlier copies."""
    manifest = session.rundir.read_manifest()
    record = manifest["stages"]["extract"]
    if "finished" in record and not session.components.store.spaces():
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
    spaces = session.components.store.spaces()
    if spaces and not any(map(len, _kept_of(session, spaces).values())):
        kept = _kept(session)
        if not kept:
            raise PluginError(f"{session.components.store.who} lists the space {spaces[0]}, of which it has no item")
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
