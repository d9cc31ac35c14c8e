"""Figures of a run: which of its numbers go into which figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.formats.plain import quoted
from saeviz.pictures.rgb import to_rgb
from saeviz.values.errors import ConfigError, DataError, ImageError
from saeviz.values.features import Feature
from saeviz.values.keys import KEYS, features_of
from saeviz.values.relations import facts_of, main_relation, measure_of, relation_prefixes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from saeviz.display.explained import Predictor
    from saeviz.display.features import Colour
    from saeviz.results.run import Run
    from saeviz.typing import FloatArray


class _Relations(NamedTuple):
    """The main correlation of a run with one rating."""

    table: pd.DataFrame
    measure: str
    alpha: float


class Plots:
    """Figures of a run, each a Matplotlib `Figure` to change and save; none is shown or kept by Matplotlib itself.

    Raises `ConfigError` if matplotlib is not installed.
    """

    def __init__(self, run: Run) -> None:
        if find_spec("matplotlib") is None:
            raise ConfigError("figures need matplotlib: pip install 'saeviz[plot]'")
        self._run = run

    def volcano(self, rating: str, *, named: int = 4) -> Figure:
        """Volcano plot: r and p of the correlation of each feature with a rating.

        The `named` features with the smallest p on each side are labelled.
        """
        from saeviz.display.relations import volcano

        found = self._relations(rating)
        table = found.table.assign(name=self._names(features_of(found.table)))
        return volcano(table, rating=rating, measure=found.measure, alpha=found.alpha, named=named)

    def replication(self, *ratings: str) -> Figure:
        """Significant correlations with ratings: r where they were found against r on held-out images.

        Default: the first three ratings.
        """
        from saeviz.display.relations import replication

        found = self._of_each(ratings)
        if any("r_held_out" not in one.table for one in found.values()):
            raise DataError(
                f"{self._run.dir}: no images were held out; set split of a correlation, for example split = 0.5"
            )
        significant = {rating: one.table[one.table["significant"] == 1] for rating, one in found.items()}
        return replication(significant, measure=next(iter(found.values())).measure)

    def strongest(self, *ratings: str, n: int = 10, also: str | None = None) -> Figure:
        """The `n` features with the largest r with each rating, and its interval. Default: the first three ratings.

        `also` is another column of `correlations` to compare, such as `r_held_out`, `r_corrected` or `partial_r`.
        """
        from saeviz.display.relations import strongest

        found = self._of_each(ratings)
        tables = {}
        for rating, one in found.items():
            tested = one.table[one.table["q"].notna()]
            if also is not None and also not in tested:
                raise ConfigError(f"the correlations of this run have no column {quoted(also)} ({self._run.dir})")
            best = tested.iloc[tested["r"].abs().argsort(kind="stable")[::-1][:n]]
            features = features_of(best)
            names = [
                name if name == str(feature) else f"{name} \N{MIDDLE DOT} {feature}"
                for name, feature in zip(self._names(features), features, strict=True)
            ]
            tables[rating] = best.assign(name=names)
        return strongest(tables, measure=next(iter(found.values())).measure, also=also)

    def explained(self, *ratings: str) -> Figure:
        """How much of each rating all features explain together: R², out of fold. Default: the first three ratings.

        From the scorer `prediction`. With the scorer `raters`, a line shows the ceiling that rating noise sets.
        """
        from saeviz.display.explained import explained

        facts = self._run.facts
        found = facts.get("prediction")
        if not isinstance(found, Mapping) or not found:
            raise DataError(f'{self._run.dir} has no predictions; add the scorer with [[scorers]] use = "prediction"')
        chosen = [self._known(rating) for rating in ratings] or list(found)[:3]
        bars = {rating: _predictors(found.get(rating, ())) for rating in chosen}
        return explained(bars, measure="R², out of fold", ceilings=_reliabilities(facts.get("reliability"), chosen))

    def style(self) -> AbstractContextManager[None]:
        """The style of these figures, for your own: draw them in a block `with run.plot.style():`."""
        from matplotlib import rc_context

        from saeviz.display.figure import STYLE

        found: AbstractContextManager[None] = rc_context(STYLE)
        return found

    def ms(self, against: str = "n_active") -> Figure:
        """Monosemanticity of each feature, against the number of images that it fires on.

        `against` may also be a rating, for the absolute r with it, or any other column of `scores` with numbers.
        """
        from saeviz.display.features import Against, monosemanticity

        scores = self._run.scores
        if "monosemanticity" not in scores:
            raise DataError(f"{self._run.dir} has no monosemanticity; add the scorer monosemanticity")
        if against == "n_active":
            counts = scores["n_active"].to_numpy(dtype=float)
            what = Against("images it fires on", counts, is_count=True)
        elif against in self._run.ratings:
            measure = self._relations(against).measure
            what = Against(f"absolute {measure} with {against}", abs(self._r_of(against)))
        else:
            what = Against(self._axis(against), self._numbers(against))
        mean = self._run.facts.get("monosemanticity_baseline_mean")
        return monosemanticity(scores, what, random_pairs=mean if isinstance(mean, float) else None)

    def map(self, colour: str = "space", *, named: int = 0) -> Figure:
        """All features on the map of the scorer `map`, coloured by their space.

        `colour` may also be a rating, for r with it, or any column of `scores`. The first `named` selected features
        are labelled.
        """
        from saeviz.display.features import feature_map

        run = self._run
        if "map_x" not in run.scores:
            raise DataError(f'{run.dir} has no map; add the scorer with [[scorers]] use = "map" and run it again')
        rows = {feature: row for row, feature in enumerate(features_of(run.scores))} if named else {}
        chosen = [one.feature for one in run.selected[:named]] if named else []
        names = {rows[feature]: name for feature, name in zip(chosen, self._names(chosen), strict=True)}
        points = run.scores[["map_x", "map_y"]].to_numpy(dtype=float)
        return feature_map(points, self._colour(colour), named=names)

    def scatter(self, x: str, y: str, colour: str = "space") -> Figure:
        """All features by two columns of `scores`, whichever scorer gives them, coloured by their space.

        Each may also be a rating, for r with it; `colour` also a column of text.
        """
        import numpy as np

        from saeviz.display.features import two_columns

        across, up = (self._numbers_or_r(name) for name in (x, y))
        points = np.column_stack([across[1], up[1]])
        return two_columns(points, self._colour(colour), across=across[0], up=up[0])

    def feature(self, feature: Feature | str, *, top: int = 8, ratings: Sequence[str] | None = None) -> Figure:
        """One feature: its `top` images, a histogram of its activations, and activation against ratings.

        `ratings` are those to show; default: the first three.
        """
        from saeviz.display.card import Card, draw_card

        run = self._run
        found = Feature.parse(feature) if isinstance(feature, str) else feature
        shown = run.ratings[:3] if ratings is None else ratings
        table = run.ratings_table
        relations = {row["rating"]: row for row in self._relations_of(found)}
        (name,) = self._names([found])
        card = Card(
            title=str(found) if name == str(found) else f"{name} \N{MIDDLE DOT} {found}",
            top=[(_small(one.item), one.activation) for one in run.top_images(found, top)],
            activations=run.activations(found),
            ratings={rating: table[self._known(rating)].to_numpy(dtype=float) for rating in shown},
            relations=relations,
        )
        return draw_card(card)

    def _known(self, rating: str) -> str:
        known = self._run.ratings
        if rating not in known:
            there_are = f"there are: {', '.join(map(quoted, known[:20]))}" if known else "it has none"
            raise ConfigError(f"this run has no rating {quoted(rating)}; {there_are} ({self._run.dir})")
        return rating

    def _of_each(self, ratings: Sequence[str]) -> dict[str, _Relations]:
        chosen = ratings or self._run.ratings[:3]
        if not chosen:
            raise DataError(f"{self._run.dir} has no ratings")
        return {rating: self._relations(rating) for rating in chosen}

    def _relations(self, rating: str) -> _Relations:
        table = self._run.correlations
        prefixes = relation_prefixes(table.columns)
        if not prefixes:
            raise DataError(f"{self._run.dir} has no correlations; add a scorer such as pearson-bh")
        alpha = facts_of(prefixes[0], self._run.facts).get("alpha", 0.05)
        own = main_relation(table[table["rating"] == self._known(rating)])
        return _Relations(own, measure_of(prefixes[0], self._run.facts), alpha if isinstance(alpha, float) else 0.05)

    def _relations_of(self, feature: Feature) -> list[dict[str, Any]]:
        import pandas as pd

        rows: list[dict[str, Any]] = main_relation(pd.DataFrame(self._run.correlations_of(feature))).to_dict("records")
        return rows

    def _r_of(self, rating: str) -> FloatArray:
        """The r with a rating of each row of `scores`, NaN if it was not tested."""
        found = self._relations(rating).table.set_index(KEYS)["r"]
        values: FloatArray = self._run.scores.set_index(KEYS).index.map(found).to_numpy(dtype=float)
        return values

    def _numbers(self, name: str) -> FloatArray:
        scores = self._run.scores
        known = [column for column in scores if column not in KEYS and scores[column].dtype.kind in "biuf"]
        if name not in known:
            there_are = ", ".join([*self._run.ratings[:20], *known])
            raise ConfigError(f"this run has no rating or score {quoted(name)}; there are: {there_are}")
        values: FloatArray = scores[name].to_numpy(dtype=float)
        return values

    def _colour(self, name: str) -> Colour:
        """A colour for each row of `scores`: by the space, r with a rating, or any column."""
        from saeviz.display.features import Colour

        run = self._run
        if name == "space":
            return Colour("space", [feature.space_name for feature in features_of(run.scores)])
        if name not in run.ratings and name in run.scores and run.scores[name].dtype.kind not in "biuf":
            return Colour(name, run.scores[name].fillna("").astype(str).tolist())
        label, values = self._numbers_or_r(name)
        return Colour(label, values, signed=name in run.ratings)

    def _numbers_or_r(self, name: str) -> tuple[str, FloatArray]:
        """A number for each row of `scores`, and what it is: r with a rating, or a column."""
        if name in self._run.ratings:
            return f"{self._relations(name).measure} with {name}", self._r_of(name)
        return self._axis(name), self._numbers(name)

    def _axis(self, name: str) -> str:
        """What an axis with a column of `scores` is called: its name and its unit."""
        info = self._run.columns["scores"].get(name)
        return name.replace("_", " ") + (f" [{info.unit}]" if info and info.unit else "")

    def _names(self, features: Sequence[Feature]) -> list[str]:
        """The label of each feature, or what it is called if it has none."""
        return [self._run.name(one) or str(one) for one in features]


def _predictors(entries: Any) -> list[Predictor]:
    """What a rating was predicted from, by the facts of the scorer `prediction`."""
    from saeviz.display.explained import Predictor

    what = {"features": "", "activations": "raw model ", "embeddings": "embeddings "}
    return [
        Predictor(
            f"{what.get(str(one.get('source')), '')}{one.get('method')} {one.get('space', '')}".strip(),
            one["r2"],
            one.get("source") == "features",
        )
        for one in entries
        if isinstance(one, Mapping) and isinstance(one.get("r2"), float)
    ]


def _reliabilities(facts: Any, ratings: Sequence[str]) -> dict[str, float]:
    """The share of the variance of each rating that is not noise, where it is known."""
    entries = {rating: facts.get(rating) for rating in ratings} if isinstance(facts, Mapping) else {}
    known = {rating: one.get("reliability") for rating, one in entries.items() if isinstance(one, Mapping)}
    return {rating: value for rating, value in known.items() if isinstance(value, float)}


def _small(item: Any) -> Image | None:
    """A picture small enough for a figure; None if it cannot be read."""
    try:
        image = to_rgb(item.open())
    except ImageError:
        return None
    image.thumbnail((320, 320))
    return image
