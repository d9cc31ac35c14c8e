"""The contract of feature stores, and what this one is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import saeviz
from saeviz.testing import FeatureStoreContract, run_with

duckdb = pytest.importorskip("duckdb")
import saeviz_duckdb  # noqa: E402
from saeviz_duckdb import DuckDBOptions, DuckDBStore  # noqa: E402


class TestDuckDBStore(FeatureStoreContract):
    """All that saeviz expects of a store; it kills writers as well, to see what is left."""

    component = DuckDBStore

    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], saeviz.FeatureStore]:
        """How the suite opens the same store, several times."""
        return lambda: DuckDBStore(DuckDBOptions(path=tmp_path / "features.duckdb"), saeviz.Context())


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """Users see this message, so it names the option and the file."""
    (tmp_path / "notes.txt").write_text("these are not features, but many other words" * 99, encoding="utf-8")
    with pytest.raises(saeviz.DataError, match=r"store\.path: .*notes\.txt cannot be opened"):
        DuckDBStore(DuckDBOptions(path=tmp_path / "notes.txt"), saeviz.Context(place="store")).spaces()


def test_a_run_keeps_its_features_in_the_file(tmp_path: Path) -> None:
    """What the run counted is what SQL finds."""
    run = run_with(saeviz_duckdb, tmp_path / "run")
    with duckdb.connect(tmp_path / "run" / "features" / "features.duckdb", read_only=True) as database:
        counts = database.execute("SELECT space, sum(octet_length(activations)) / 4 FROM features GROUP BY space")
        n_active = dict(counts.fetchall())
    assert n_active == {str(space): run.features(space).matrix.nnz for space in run.spaces}
