"""Images kept from the labeler and from the correlation, on which labels are to predict ratings."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import isfinite
from typing import Any

from saeviz.config.schema import FEWEST_RATED
from saeviz.contract.roles import HoldsOut
from saeviz.pipeline.session import Session
from saeviz.values.errors import ConfigError
from saeviz.values.images import ImageItem
from saeviz.values.relations import facts_of, relation_prefixes
from saeviz.values.score_input import finding_images

NO_SPLIT = (
    "run.rating_images: labels are tested on held-out images, but the main correlation of this run uses all images; "
    "give its scorer split = 0.5"
)


def check_split(session: Session) -> None:
    """Raise `ConfigError` if no scorer that could hold out images does so, as far as the options say."""
    if not session.config.run.rating_images:
        return
    splits = [one.options.split for one in session.config.scorers if isinstance(one.options, HoldsOut)]
    if splits and not any(splits):
        raise ConfigError(NO_SPLIT)


def images_to_show(session: Session) -> Sequence[ImageItem]:
    """The images that a labeler may be shown: all, or with `run.rating_images` those on which relations were found."""
    shown, held_out = _parts(session)
    if session.config.run.rating_images and (n := len(_rated(held_out))) < FEWEST_RATED:
        raise ConfigError(
            f"run.rating_images: {n} of the held-out images have a rating, and at least {FEWEST_RATED} are needed; "
            "lower the split of the scorer, so that more are held out, or remove the option"
        )
    return shown


def images_to_rate(session: Session) -> list[ImageItem]:
    """At most `run.rating_images` of the held-out images that have a rating, for all labels the same.

    A simple random sample, so that r estimates that of all held-out images, whatever fires on them. It is drawn by a
    hash of seed and id: a larger one has the images of a smaller one, and another image changes one at most.
    """
    rated = _rated(_parts(session)[1])
    seed = session.config.run.seed
    rated.sort(key=lambda item: blake2b(f"rated {seed} {item.item_id}".encode()).digest())
    return rated[: session.config.run.rating_images]


def main_prefix(session: Session) -> str:
    """The prefix of the columns of the run's main correlation."""
    rundir = session.rundir
    without_rows = rundir.read_rows(rundir.correlations, "score", {"feature": -1})
    return next(iter(relation_prefixes(without_rows.column_names)), "")


def _parts(session: Session) -> tuple[Sequence[ImageItem], Sequence[ImageItem]]:
    """The images on which relations were found, or all if none need to be held out; and the others."""
    dataset = session.dataset.extracted
    if not session.config.run.rating_images:
        return dataset, []
    share = facts_of(main_prefix(session), _facts(session)).get("split")
    if not (isinstance(share, float) and 0 < share < 1):
        raise ConfigError(NO_SPLIT)
    ids, groups = [item.item_id for item in dataset], [item.group for item in dataset]
    finding = finding_images(ids, share, session.config.run.seed, groups)
    pairs = list(zip(dataset, finding.tolist(), strict=True))
    return [item for item, found in pairs if found], [item for item, found in pairs if not found]


def _rated(items: Sequence[ImageItem]) -> list[ImageItem]:
    return [item for item in items if any(map(isfinite, item.ratings.values()))]


def _facts(session: Session) -> dict[str, Any]:
    found: dict[str, Any] = session.rundir.read_manifest()["stages"].get("score", {}).get("facts", {})
    return found
