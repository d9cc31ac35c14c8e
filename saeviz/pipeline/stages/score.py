"""The stage `score`: compute scores of features from features, embeddings and ratings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from saeviz.config.columns import (
    GivenColumns,
    declared_infos,
    declared_numbers,
    declared_pairs,
    prefixed,
    renamed,
    undeclared,
)
from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.formats.contents import OF_IMAGES, OF_PAIRS, OF_SCORES, OF_TOP_IMAGES
from saeviz.formats.files import atomic_folder
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.of_images import columns_of_images
from saeviz.formats.pairs import PairFiles, files_of_pairs
from saeviz.formats.part_records import part_names, read_parts, write_part
from saeviz.formats.plain import plain, quoted
from saeviz.formats.tables import table_of_images, table_of_texts
from saeviz.pipeline.images import Listing
from saeviz.pipeline.inputs import score_inputs
from saeviz.pipeline.parts import Part, record_of_part
from saeviz.pipeline.relations import correlations_table, run_scorer
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.score_parts import PartScoring, given_arrays_of_part
from saeviz.pipeline.stages.score_work import clear_states, given_arrays, state_files
from saeviz.pipeline.stages.scoring import Scoring, can_be_shared, scoring_of
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.columns import ColumnInfo, infos_of
from saeviz.values.errors import ConfigError, DataError, PluginError, SaevizError
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import columns_of
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import ImageColumn, PairBlock, ScoreColumn, ScoreFact
from saeviz.values.texts import Texts

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.typing import FloatArray


NAMED = 5
"""How many ratings a warning names of those that the same number of images have, such as levels of one column."""


class Score(Stage):
    """Runs the scorers on every space and stores each feature's top images."""

    name = "score"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` if a scorer's options name what no image has, or do not go with images in groups.

        Warns of ratings that at least half of the images lack, or that never vary, and of a single group.
        """
        dataset = session.dataset
        _check_names(session)
        _warn_of_what_never_varies(dataset.items.listing)
        n = len(dataset.items)
        with_count: dict[int, list[str]] = {}
        for name, count in dataset.items.listing.rated.items():
            with_count.setdefault(count, []).append(name)
        for count, names in with_count.items():
            if 2 * count > n:
                continue
            for name in names[:NAMED]:
                logger.warning("images: only %d of %d have the rating %r; only these are used for it", count, n, name)
            if names[NAMED:]:
                logger.warning("images: %d more ratings are of only %d of %d images", len(names[NAMED:]), count, n)

    def identity(self, session: Session) -> Any:
        """The scorers, and the images, ratings, features and embeddings they see."""
        return [
            [session.components.identity(config) for config in session.config.scorers],
            session.config.run.top_images,
            session.config.run.seed,
            session.digests["extract"],
            session.digests["embed"],
            *([session.digests["embed-second"]] if session.config.second_embeddings else []),
            session.dataset.data_digest,
        ]

    def is_complete(self, session: Session) -> bool:
        """Whether the tables of features exist; earlier versions have none of images."""
        rundir = session.rundir
        return all(path.exists() for path in (rundir.scores, rundir.correlations, rundir.top_images))

    def tidy(self, session: Session) -> None:
        """Remove states of these scores, and not those of others that parts have begun with."""
        begun = read_parts(state_files(session.rundir).folder).values()
        if all(record.digests.get(self.name) == session.digests[self.name] for record in begun):
            clear_states(session.rundir, taken_in=True)

    def reset(self, session: Session) -> None:
        """Remove states of other scores, as a run that was interrupted leaves them, and not those of parts."""
        if not session.gathers and (session.redo or not part_names(state_files(session.rundir).folder)):
            clear_states(session.rundir)

    def run(self, session: Session) -> Mapping[str, Any]:
        """Score each space, then combine columns of all spaces."""
        with given_arrays(session, session.rundir.path.absolute()) as arrays:
            return self._scored(session, arrays)

    def _scored(self, session: Session, arrays: MappedArrays) -> Mapping[str, Any]:
        """The stage; `arrays` are there until it ends."""
        inputs = list(score_inputs(session, session.dataset.extracted, arrays))
        first = inputs[0]
        logger.info("score: %d images in %s", first.n_items, ", ".join(map(str, session.dataset.spaces)))
        scoring = scoring_of(session, inputs, arrays)
        inputs, of_images = _summarized(scoring, inputs)
        ratings, rundir = session.dataset.ratings, session.rundir
        with atomic_folder(rundir.pairs) as folder:
            pairs = PairFiles(folder, session.dataset.spaces)
            columns, facts = self._results(scoring, inputs, of_images, pairs)
        arrays.release()
        further = {column.target: of_images[column.target] for column in columns if column.target in of_images}
        declared = [info for config in session.config.scorers for info in declared_infos(config, session.manager)]
        of_extractors = _infos_of_extractors(session)
        rundir.write_table(rundir.top_images, _top_images_table(session, inputs), OF_TOP_IMAGES)
        rundir.write_table(rundir.scores, _scores_table(inputs, columns), [*OF_SCORES, *declared])
        rundir.write_table(
            rundir.correlations,
            correlations_table(session.dataset.spaces, columns, [*ratings, *further]),
            [*OF_PAIRS, *declared],
        )
        rundir.write_table(
            rundir.images, table_of_images(Texts.of(first.item_ids), of_images), [*declared, *of_extractors, *OF_IMAGES]
        )
        scoring.clear()
        counts = {
            "images": first.n_items,
            "rated": {
                name: int((values == values).sum())  # noqa: PLR0124  not NaN
                for name, values in ({name: first.ratings[name] for name in ratings} | further).items()
            },
            "live_features": {str(data.space): int((data.features.count_active() > 0).sum()) for data in inputs},
        }
        outputs = [rundir.scores, rundir.correlations, rundir.top_images, rundir.images]
        return {"counts": counts, "facts": facts, "outputs": [*outputs, *files_of_pairs(rundir.pairs)]}

    def make_part(self, session: Session, part: Part) -> None:
        """Make the states of a part's share of the features that are in the store, for a run that gathers."""
        inputs = list(score_inputs(session, session.dataset.extracted, None))
        if not can_be_shared(session, inputs):
            n_items, store = inputs[0].n_items, session.config.store.use
            logger.info("score: left to --gather: %d images in the store %s", n_items, store)
            return
        write_part(state_files(session.rundir).folder, record_of_part(session, part))
        with given_arrays_of_part(session, part) as arrays:
            scoring = PartScoring(session, arrays, part)
            scoring.make(_seeing(*_summarized(scoring, inputs)))

    def _results(
        self, scoring: Scoring, inputs: list[ScoreInput], of_images: dict[str, Any], pairs: PairFiles
    ) -> tuple[list[ScoreColumn], dict[str, Any]]:
        """The columns and facts of all scorers. Their columns of images and their pairs are added to the others'."""
        session, columns, facts = scoring.session, list[ScoreColumn](), dict[str, Any]()
        targets, given = {None, *session.dataset.ratings, *of_images}, GivenColumns()
        for config in session.config.scorers:
            who, infos = session.components.who(config), declared_pairs(config, session.manager)
            seen, images, in_pairs = _seeing(inputs, of_images), list[str](), dict[str, None]()
            scorer, score = scoring.ready(config, seen)
            for result in session.components.guarded(config, run_scorer(who, scorer, seen, score)):
                named = renamed(result, config.name)
                if isinstance(named, ScoreFact):
                    _add_fact(facts, named, who)
                elif isinstance(named, ImageColumn):
                    _refuse_another_of_its_name(named, of_images, images, who)
                    of_images[named.name] = named.values
                    images.append(named.name)
                    targets.add(named.name)
                else:
                    of = named.targets if isinstance(named, PairBlock) else (named.target,)
                    _refuse_foreign(named, of, session.dataset.spaces, targets, who)
                    if isinstance(named, PairBlock):
                        pairs.add(named, who, infos)
                        in_pairs |= dict.fromkeys(named.values)
                    else:
                        given.add(named, config, who)
                        columns.append(named)
            declared = declared_infos(config, session.manager)
            _warn_of_undeclared(who, undeclared([*given.of(config), *images], declared), "ScorerSpec.columns")
            _warn_of_undeclared(who, undeclared(in_pairs, infos), "ScorerSpec.pair_columns")
        return columns, facts


def _summarized(scoring: Scoring, inputs: Sequence[ScoreInput]) -> tuple[list[ScoreInput], dict[str, Any]]:
    """The inputs with what workers have found out of them, and the columns of images that are there before scorers."""
    known, n_active = scoring.summarized(inputs)
    of_images: dict[str, Any] = {f"l0.{space}": counts for space, counts in n_active.items()}
    return known, of_images | _given_by_extractors(scoring.session, inputs[0].item_ids)


def _seeing(inputs: Iterable[ScoreInput], of_images: Mapping[str, Any]) -> list[ScoreInput]:
    """The inputs with columns of images, as scorers see them."""
    so_far = {name: values.astype(float) for name, values in of_images.items()}
    return [replace(data, of_images=so_far).locked() for data in inputs]


def _warn_of_what_never_varies(listing: Listing) -> None:
    """Warns of ratings with one value, and of groups that are one."""
    constant = {name: lowest for name, (lowest, highest) in listing.ranges.items() if lowest == highest}
    for name, value in islice(constant.items(), NAMED):
        logger.warning("images: all have the same value of %r, %g, so nothing can be related to it", name, value)
    if len(constant) > NAMED:
        logger.warning("images: %d more ratings have a single value", len(constant) - NAMED)
    if listing.has_groups and len(listing.some_groups) == 1 and len(listing.ids) > 1:
        (group,) = listing.some_groups
        logger.warning(
            "images: all belong to the group %r, so they count as a single observation and no relation has a p; "
            "name another column in images.group_column, or remove it if images are independent",
            group,
        )


def _check_names(session: Session) -> None:
    """Raise `ConfigError` if a scorer names what no image has or only a later scorer gives, or needs groups."""
    ratings, scorers = session.dataset.ratings, session.config.scorers
    listing = session.dataset.items.listing
    metadata, grouped = list(listing.metadata), listing.has_groups
    given = [_columns_of_images(session, config, ratings) for config in scorers]
    for place, config in enumerate(scorers):
        check = partial(config.options.check_columns, config.place, ratings, metadata)
        before = list(chain.from_iterable(given[:place]))
        with session.components.blaming(config):
            config.options.check_groups(config.place, grouped)
            if not _passes(check, before):
                _refuse(
                    check, [*_known_of_extractors(session), *before], list(zip(scorers, given, strict=True))[place:]
                )
            config.options.check_images(config.place, session.dataset.items)


def _columns_of_images(session: Session, config: ComponentConfig, ratings: Sequence[str]) -> list[str]:
    """The columns of images that a scorer declares, with its name in front."""
    with session.components.blaming(config):
        found = config.options.columns_of_images(ratings)
        names = handover.each(session.components.who(config), "columns_of_images", found, str)
        return sorted(prefixed(name, config.name) for name in names)


def _refuse(
    check: Callable[[list[str]], None], known: list[str], late: Sequence[tuple[ComponentConfig, list[str]]]
) -> None:
    """Raise `ConfigError` unless the columns are known, with the scorers that give them late if there are any."""
    try:
        check(known)
    except ConfigError as error:
        check([*known, *chain.from_iterable(columns for _, columns in late)])
        needed = [
            f"{config.place} ({config.use})"
            for config, columns in late
            if not _passes(check, [*known, *(name for _, more in late if more is not columns for name in more)])
        ]
        raise ConfigError(
            f"{error}; {', '.join(needed)} gives it, and scorers run in the order of the run file: each can use "
            "only columns of images from scorers before it"
        ) from None


def _known_of_extractors(session: Session) -> list[str]:
    """The columns of images that are there before any scorer; none if the SAEs cannot be looked at yet.

    Asked for only if an option names something else than ratings and metadata: SAEs may have to be fetched for it.
    """
    dataset = session.dataset
    try:
        found = [f"l0.{space}" for space in dataset.spaces]
        for extractor in session.config.extractors:
            numbers = dataset.numbers_of_images(extractor)
            found += [f"{name}.{space}" for space, names in numbers.items() for name in names]
    except (ConfigError, DataError):
        raise  # what is wrong with the extractor is to be told, not that its columns are missing
    except SaevizError as error:
        logger.warning("score: the spaces of this run are not known yet: %s", error)
        return []
    return found


def _passes(check: Callable[[list[str]], None], known: list[str]) -> bool:
    try:
        check(known)
    except ConfigError:
        return False
    return True


def _refuse_foreign(
    given: ScoreColumn | PairBlock,
    of: Iterable[str | None],
    spaces: Collection[FeatureSpace],
    targets: Collection[str | None],
    who: str,
) -> None:
    """Raise `PluginError` for scores of an unknown space or rating, which no table could hold."""
    if given.space not in spaces:
        raise PluginError(f"{who} gave {given.name!r} of {given.space}, which is not a space of this run")
    for target in of:
        if target not in targets:
            raise PluginError(f"{who} gave {given.name!r} for {target!r}, which is not a rating of this run")


def _add_fact(facts: dict[str, Any], fact: ScoreFact, who: str) -> None:
    """Facts of all spaces are alike; raises `PluginError` for one that would take the place of another."""
    value = plain(fact.value)
    if facts.setdefault(fact.name, value) != value:
        raise PluginError(
            f"{who} gave the fact {fact.name!r} as {quoted(value)}, and it is {quoted(facts[fact.name])} already; name "
            "a fact about one space after it"
        )


def _refuse_another_of_its_name(column: ImageColumn, known: Collection[str], own: Collection[str], who: str) -> None:
    if column.name in own:
        raise PluginError(
            f"{who} gave the column {column.name!r} of images more than once; score is called for each space: write "
            "the space into the name, or give the column in combine"
        )
    if column.name == "item_id" or column.name in known:
        raise PluginError(f"{who} gave the column {column.name!r} of images, but there is one of this name already")


def _given_by_extractors(session: Session, item_ids: Sequence[str]) -> dict[str, FloatArray]:
    """What extractors handed over of the images with their features, NaN where there is nothing of one."""
    session.rundir.verify(session.rundir.of_images, "extract")
    return columns_of_images(session.rundir.of_images, Texts.of(item_ids))


def _infos_of_extractors(session: Session) -> list[ColumnInfo]:
    """What extractors say of their numbers of images, by the columns that these are."""
    found = []
    for config in session.config.extractors:
        if infos := declared_numbers(config, session.manager):
            given = session.dataset.numbers_of_images(config)
            unknown = undeclared(chain.from_iterable(given.values()), infos)
            _warn_of_undeclared(session.components.who(config), unknown, "FeatureExtractorSpec.columns")
            for space, names in given.items():
                found += [replace(info, name=f"{name}.{space}") for name, info in infos_of(names, infos).items()]
    return found


def _warn_of_undeclared(who: str, names: Sequence[str], field: str) -> None:
    if names:
        more = f" and {len(names) - 1} more" if names[1:] else ""
        logger.warning(
            "%s gave the column %r%s and does not declare it: add it to %s, with what it means",
            who, names[0], more, field,
        )  # fmt: skip


def _scores_table(inputs: list[ScoreInput], columns: list[ScoreColumn]) -> pd.DataFrame:
    import pandas as pd

    tables = []
    spaces = [data.space for data in inputs]
    for data in inputs:
        statistics = data.features.statistics
        values: dict[str, Any] = {
            **_keys(data.space, spaces),
            "n_active": statistics.n_active,
            "max": statistics.maximum,
            "mean": statistics.mean,
        }
        values |= {column.name: column.values for column in columns if column.space == data.space and not column.target}
        tables.append(pd.DataFrame(values))
    return pd.concat(tables, ignore_index=True)


def _top_images_table(session: Session, inputs: list[ScoreInput]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    tops = {data.space: data.features.top_images(session.config.run.top_images) for data in inputs}
    rows = np.unique(np.concatenate([top.rows[top.rows >= 0] for top in tops.values()]))
    ids = pd.Index(table_of_texts({"item_id": Texts.of(inputs[0].item_ids).take(rows)})["item_id"])
    tables = []
    for space, top in tops.items():
        feature, rank = np.nonzero(top.rows >= 0)
        table = pd.DataFrame({**columns_of(space, session.dataset.spaces), "feature": feature, "rank": rank + 1})
        table["item_id"] = pd.Categorical.from_codes(np.searchsorted(rows, top.rows[feature, rank]), categories=ids)
        table["activation"] = top.values[feature, rank]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _keys(space: FeatureSpace, spaces: Iterable[FeatureSpace]) -> dict[str, Any]:
    import numpy as np

    return {**columns_of(space, spaces), "feature": np.arange(space.n_features)}
