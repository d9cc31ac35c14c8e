"""Adds to oasis-ratings.csv, which brightness.py writes, the series of each photograph: its theme without the number.

*Acorns 1*, *Acorns 2* and *Acorns 3* are the series *Acorns*.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent


if __name__ == "__main__":
    table = pd.read_csv(HERE / "oasis-ratings.csv")
    table["series"] = table["theme"].str.replace(r"\s*\d+$", "", regex=True)
    table.to_csv(HERE / "oasis-ratings.csv", index=False)
