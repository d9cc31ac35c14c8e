"""Adds the mean brightness of every picture to the ratings table: oasis/ratings.csv to oasis-ratings.csv.

Brightness is the mean over the pixels of the luma of ITU-R BT.601, 0 black to 1 white. The new table lies beside this
file, so the data stay as they were.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from saeviz.toolkit.images import open_picture, to_rgb

HERE = Path(__file__).parent


def brightness(picture: Path) -> float:
    """Of one picture."""
    return float(np.asarray(to_rgb(open_picture(picture)).convert("L")).mean() / 255)


if __name__ == "__main__":
    table = pd.read_csv(HERE / "oasis" / "ratings.csv")
    table["brightness"] = [round(brightness(HERE / "oasis" / file), 4) for file in table["file"]]
    table.to_csv(HERE / "oasis-ratings.csv", index=False)
