"""Features that are copies of one another, according to the scorer `redundancy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz import KEYS

if TYPE_CHECKING:
    import pandas as pd


def add_clusters(features: pd.DataFrame, scores: pd.DataFrame | None) -> pd.DataFrame:
    """`features` with the columns `cluster`, the same number for copies, and `others`, how many copies there are.

    Every feature is its own cluster where `scores` are None or know no clusters, and so is one without a cluster.
    """
    if scores is not None and "cluster" in scores:
        sizes = scores.groupby("cluster")["cluster"].transform("size")
        known = scores[[*KEYS, "cluster"]].astype({"tokens": object}).assign(others=sizes - 1)
        features = features.merge(known, on=KEYS, how="left", validate="one_to_one")
    else:
        features = features.assign(cluster=np.nan, others=0)
    alone = -1.0 - np.arange(len(features))
    own = features["cluster"].isna()
    return features.assign(cluster=features["cluster"].mask(own, alone), others=features["others"].mask(own, 0))
