"""Scorer `map`: a place in two dimensions for every feature, near to features that are like it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib.util import find_spec
from typing import Literal

from pydantic import Field

import saeviz


class MapOptions(saeviz.Options):
    """Options of `map`."""

    by: Literal["coactivation", "decoder"] = Field(
        default="coactivation",
        description=(
            "which features are near each other. `coactivation`: those that fire on the same images; `decoder`: those "
            "of one SAE with similar decoder directions, which loads the SAEs"
        ),
    )
    method: Literal["pca", "pacmap"] | None = Field(
        default=None,
        description=(
            "how the map is drawn: by the first two principal components, or by PaCMAP, which keeps neighbours "
            "together (pip install 'saeviz[map]'); default: PaCMAP if it is installed"
        ),
    )
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="seed of PaCMAP; default: the seed of the run")

    def check_data(self, place: str, _ratings: Collection[str], _metadata: Collection[str], /) -> None:
        """Raise `ConfigError` if PaCMAP is asked for and not installed."""
        if self.method == "pacmap" and not pacmap_is_installed():
            raise saeviz.ConfigError(
                f"{place}.method: PaCMAP is not installed; pip install 'saeviz[map]', or remove this option"
            )

    def columns_of_images(self, _ratings: Collection[str], /) -> Collection[str]:
        """By co-activation images have places, too."""
        return ("map_x", "map_y") if self.by == "coactivation" else ()


def pacmap_is_installed() -> bool:
    """Whether the extra `saeviz[map]` is there."""
    return find_spec("pacmap") is not None


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """Offer `map`."""
    yield saeviz.ScorerSpec(
        name="map",
        summary="a map of all features in two dimensions, and one of the images",
        options=MapOptions,
        factory="saeviz_map.scorer:FeatureMap",
        uses_embeddings=False,
        columns=(
            saeviz.ColumnInfo("map_x", "place on the map, from left to right; only distances have a meaning"),
            saeviz.ColumnInfo("map_y", "place on the map, from bottom to top; only distances have a meaning"),
        ),
        cites=(
            saeviz.Citation(
                "Principal components of features, for the map",
                "Halko, Martinsson & Tropp (2011)",
                "Finding structure with randomness: probabilistic algorithms for constructing approximate matrix "
                "decompositions",
                "SIAM Review, 53(2), 217\N{EN DASH}288. doi:10.1137/090771806",
                when="by=coactivation",
            ),
            saeviz.Citation(
                "Map of features",
                "Wang, Huang, Rudin & Shaposhnik (2021)",
                "Understanding how dimension reduction tools work: an empirical approach to deciphering t-SNE, UMAP, "
                "TriMap, and PaCMAP for data visualization",
                "Journal of Machine Learning Research, 22(201), 1\N{EN DASH}73",
                when="map_method=*pacmap*",
            ),
        ),
    )
