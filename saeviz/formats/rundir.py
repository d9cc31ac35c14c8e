"""The run directory: its files, its manifest, its lock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from saeviz.formats.damage import UNREADABLE, digest_of_tree
from saeviz.formats.failures import FailuresFile
from saeviz.formats.files import explain_disk_errors, oddities_in, remove_temporaries, write_atomic
from saeviz.formats.folders import Folder
from saeviz.formats.parquet import columns_in, read_whole, rows_where
from saeviz.formats.tables import write_csv, write_parquet
from saeviz.values.columns import ColumnInfo, attrs_of
from saeviz.values.errors import ConfigError, DataError, RunDirError
from saeviz.values.features import FeatureSpace
from saeviz.values.keys import KEYS, space_of
from saeviz.values.regular import open_regular, read_regular, real_path, reason_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FORMAT = 1
MOST_OF_IMAGES = 100_000
"""Columns of `images.parquet`: some for each rating, of which there may be thousands."""
MOST_BYTES = 64 * 2**20
"""Maximum size of a `run.json`."""
_JUDGED = ("balanced_accuracy", "ci_low", "ci_high", "n_active", "n_silent", "n_hard")
_OF_ALL_VERSIONS = [key for key in KEYS if key != "sae"]
"""The columns that name a feature in tables of all versions; earlier ones lack the column `sae`."""
_COLUMNS = {
    "items.parquet": ("item_id", "fingerprint"),
    "scores.parquet": (*_OF_ALL_VERSIONS, "n_active"),
    "correlations.parquet": (*_OF_ALL_VERSIONS, "rating"),
    "top_images.parquet": (*_OF_ALL_VERSIONS, "rank", "item_id", "activation"),
    "images.parquet": ("item_id",),
    "pairs": (*KEYS, "rating"),  # each of its files
    "judgements.parquet": (*_OF_ALL_VERSIONS, "label", "verdict", "reason", *_JUDGED),
    "label_ratings.parquet": (*_OF_ALL_VERSIONS, "label", "rating", "n", "r", "r_feature"),
}
"""Columns that readers rely on."""
_WHOLE_NUMBERS = ("feature", "rank", "n_active")


class RunDir:
    """The files of one run. Every write is atomic; tables are Parquet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest_file = path / "run.json"
        self.features = path / "features"
        self.items = path / "items.parquet"
        self.other_items = path / "other_items.parquet"
        self.of_images = path / "of_images.jsonl"
        self.scores = path / "scores.parquet"
        self.correlations = path / "correlations.parquet"
        self.top_images = path / "top_images.parquet"
        self.images = path / "images.parquet"
        self.pairs = path / "pairs"
        self.selected = path / "selected.csv"
        self.labels = path / "labels.jsonl"
        self.judged = path / "judgements.jsonl"
        self.judgements = path / "judgements.parquet"
        self.label_scores = path / "label_scores.jsonl"
        self.label_ratings = path / "label_ratings.parquet"
        self.failures = FailuresFile(path / "failures.jsonl")
        self.notes = path / "notes.jsonl"
        self.log = path / "log.txt"
        self.shards = Folder(path / "shards")
        self._verified: set[Path] = set()
        self._is_mine = False
        self._manifest: str | None = None

    @property
    def place(self) -> str:
        """Its path, or its address in an object store."""
        return str(self.path)

    def at_hand(self, cache_dir: Path) -> RunDir:  # noqa: ARG002  only of an object store
        """The directory with its files, for a worker: in an object store they may have to be fetched to its machine."""
        return self

    def refuse_changes(self) -> None:
        """Raise `ConfigError` if nobody may add to it, such as notes."""

    def __reduce__(self) -> tuple[Any, ...]:
        """For workers: what was read is not passed on."""
        return type(self), (self.path.absolute(),), {"log": self.log.absolute()}

    @classmethod
    def create(cls, path: Path) -> RunDir:
        """A new run directory, or an existing one to resume; raises `ConfigError` for any other folder."""
        cls.check(path)
        with explain_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def check(cls, path: Path) -> None:
        """Raise `ConfigError` for a path that cannot become a run directory; writes nothing."""
        if path.exists() and not path.is_dir():
            raise ConfigError(f"run.dir: {path} is a file; choose a folder")
        if path.is_dir() and not (path / "run.json").exists() and _holds_foreign_files(path):
            raise ConfigError(
                f"run.dir: {path} has files in it but is not a run directory; choose a new or empty folder"
            )

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Open an existing run directory. Raises `ConfigError` if it is not one."""
        with explain_disk_errors(path / "run.json", "read"):
            if not (path / "run.json").is_file():
                raise ConfigError(f"{path} is not a run directory: it has no run.json")
        return cls(path)

    def embeddings(self, table: str) -> Path:
        """The folder of the embeddings of a table of the run file."""
        return self.path / table

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory for writing by this process. Raises `RunDirError` if another run holds the lock.

        Raises `ConfigError` if a link would redirect writes to another folder, or if there is a pipe or device: the
        directory may come from a stranger.
        """
        from filelock import FileLock, Timeout

        self.refuse_oddities()
        lock = FileLock(self.path / ".lock", timeout=0)
        with explain_disk_errors(self.path):
            try:
                lock.acquire()
            except Timeout as error:
                raise RunDirError(
                    f"another run is working in {self.path}; wait until it has ended, or choose another run.dir"
                ) from error
        try:
            remove_temporaries(self.path)
            self._is_mine = True
            yield
        finally:
            self._is_mine, self._manifest = False, None
            lock.release()

    @contextmanager
    def removed_if_unused(self) -> Iterator[None]:
        """Remove the log of a directory that has nothing else in it afterwards, and the directory with it."""
        try:
            yield
        finally:
            if not self.manifest_file.exists() and not _holds_foreign_files(self.path):
                for path in (self.log, self.path / ".lock"):
                    path.unlink(missing_ok=True)
                with suppress(OSError):  # it is not empty: hidden files of somebody else
                    self.path.rmdir()

    def refuse_oddities(self) -> None:
        """Raise `ConfigError` for links that lead out of the directory, pipes and devices."""
        root = self.path.resolve()
        with explain_disk_errors(self.path, "looked through"):
            for odd in oddities_in(root):
                name, target = self.path / odd.relative_to(root), real_path(odd)
                if not odd.is_symlink() or target.is_symlink():
                    raise ConfigError(f"run.dir: {name} is neither a file nor a folder; remove it")
                if not target.is_relative_to(root):
                    raise ConfigError(
                        f"run.dir: {name} is a link that leads out of the run directory, and "
                        f"a run writes nowhere else; remove it (features can go elsewhere: path in [store])"
                    )

    def read_manifest(self) -> dict[str, Any]:
        """Read `run.json`, or return an empty manifest. Raises `RunDirError` if it is damaged or too new.

        While the directory is `locked`, the file is read only once.
        """
        if self._manifest is None and not self.manifest_file.exists():
            return {"format": FORMAT, "stages": {}}
        try:
            text = self._manifest or read_regular(self.manifest_file, MOST_BYTES).decode()
            manifest: dict[str, Any] = json.loads(text)
        except UNREADABLE as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else reason_of(error)
            raise RunDirError(f"{self.manifest_file} cannot be read: {reason}; choose another run.dir") from error
        if not _is_manifest(manifest):
            raise RunDirError(f"{self.manifest_file} is not a manifest of this saeviz; choose another run.dir")
        if self._is_mine:
            self._manifest = text
        return manifest

    def config(self) -> Mapping[str, Any]:
        """The configuration in `run.json`. Raises `ConfigError` if there is none."""
        config = self.read_manifest().get("config")
        if not isinstance(config, Mapping):
            raise ConfigError(f"{self.manifest_file} has no configuration: the run was never started")
        return config

    def plugin_words(self) -> list[str]:
        """The words of `--plugins` recorded by the run; nothing is loaded because of them."""
        words = self.read_manifest().get("use_plugins")
        return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []

    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces in `run.json`, empty before they are known."""
        try:
            return [space_of(space) for space in self.read_manifest()["stages"].get("extract", {}).get("spaces", [])]
        except (TypeError, LookupError, AttributeError, DataError) as error:
            raise RunDirError(f"{self.manifest_file}: its feature spaces are invalid: {error}") from error

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace `run.json`."""
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_atomic(self.manifest_file, text)
        if self._is_mine:
            self._manifest = text

    def commit(self) -> None:
        """Called after each stage: a folder has everything already, an object store has not."""

    def digests(self, paths: Collection[Path]) -> dict[str, str]:
        """The digests of these files and folders for the manifest, by their names in the run directory."""
        inside = [path.relative_to(self.path) for path in paths if path.is_relative_to(self.path)]
        found = {name.as_posix(): digest_of_tree(self.path / name) for name in inside}
        return {name: digest for name, digest in found.items() if digest is not None}

    def recorded(self, stage: str) -> list[Path]:
        """The files of a finished stage that the manifest lists."""
        return [self.path / name for name in _digests_in(self.read_manifest()["stages"].get(stage, {}))]

    def changed(self, record: Mapping[str, Any]) -> list[Path]:
        """The files of a stage's record that are missing or have changed since it finished."""
        return [
            self.path / name
            for name, digest in _digests_in(record).items()
            if digest_of_tree(self.path / name) != digest
        ]

    def verify(self, path: Path, stage: str) -> None:
        """Raise `RunDirError` if a file has changed since the stage finished; an unfinished stage is not checked."""
        record = self.read_manifest()["stages"].get(stage, {})
        digest = _digests_in(record).get(path.relative_to(self.path).as_posix())
        if digest is not None and digest_of_tree(path) != digest:
            what = "was changed or damaged since it was written" if path.exists() else "is missing"
            raise RunDirError(f"{path} {what}: {_next_step(stage)}")

    def write_table(self, path: Path, table: pd.DataFrame, infos: Iterable[ColumnInfo] = ()) -> None:
        """Replace a Parquet table; what is known of its columns is written with it."""
        table.attrs = attrs_of(table, infos)
        write_parquet(path, table)

    def read_table(self, path: Path, stage: str) -> pd.DataFrame:
        """Read a Parquet table. Raises `RunDirError`, naming the stage that writes it, if it is missing or damaged."""
        self.verify(path, stage)
        reader = partial(read_whole, most_columns=MOST_OF_IMAGES) if path == self.images else read_whole
        table = _read(path, stage, reader)
        missing = [name for name in _COLUMNS.get(path.name, ()) if name not in table]
        if missing:
            raise RunDirError(f"{path} has no column {missing[0]!r}: {_next_step(stage)}")
        return _with_names(table)

    def read_infos(self, path: Path, stage: str) -> list[ColumnInfo]:
        """The columns of a Parquet table, with what is known of them; raises as `read_table`."""
        self.verify(path, stage)
        found: list[ColumnInfo] = _read(path, stage, columns_in)
        return found

    def extracted_ids(self) -> list[str]:
        """The ids of the run's readable images, in order; all have features once extraction is finished.

        A store may have more: features of images that were removed later or can no longer be read.
        """
        left_out = self.failures.of("extract")
        table = self.read_table(self.items, "extract")
        return [item_id for item_id in table["item_id"] if item_id not in left_out]

    def read_rows(
        self, path: Path, stage: str, where: Mapping[str, Any], columns: Collection[str] | None = None
    ) -> pa.Table:
        """As `rows_where`, of a Parquet table; raises as `read_table`."""
        if path not in self._verified:
            self.verify(path, stage)
            self._verified.add(path)
        found: pa.Table = _read(path, stage, lambda file: rows_where(file, where, columns))
        known = _COLUMNS.get("pairs" if path.is_relative_to(self.pairs) else path.name, ())
        wanted = [name for name in known if columns is None or name in columns]
        if (mistake := _mistake_in(found, wanted)) is not None:
            raise RunDirError(f"{path} {mistake}: {_next_step(stage)}")
        return found

    def write_csv(self, path: Path, table: pd.DataFrame) -> None:
        """Replace a CSV table, which is for people: see `csv_cell` for text from outside in it."""
        write_csv(path, table)

    def read_csv(self, path: Path, stage: str, dtype: type | None = None) -> pd.DataFrame:
        """Read a CSV table with text unchanged; with `dtype=str`, numbers as text, too."""
        import pandas as pd

        self.verify(path, stage)
        table = _read(
            path,
            stage,
            lambda file: pd.read_csv(BytesIO(read_regular(file, MOST_BYTES)), keep_default_na=False, dtype=dtype),
        )
        return _with_names(table)


def _with_names(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the names of the SAEs, which earlier versions did not have."""
    if "layer" in table and "sae" not in table:
        table.insert(list(table).index("layer"), "sae", "")
    return table


def _mistake_in(table: pa.Table, wanted: Collection[str]) -> str | None:
    """What the columns that readers rely on lack, None where they are as a run writes them."""
    import pyarrow as pa

    for name in wanted:
        if name not in table.column_names:
            return f"has no column {name!r}"
        kind, is_whole = table.schema.field(name).type, name in _WHOLE_NUMBERS
        if is_whole and not pa.types.is_integer(kind):
            return f"has no whole numbers in its column {name!r}"
        if is_whole and table[name].null_count:
            return f"lacks values in its column {name!r}"
    return None


def _digests_in(record: Mapping[str, Any]) -> dict[str, str]:
    """The file digests of a stage's record, without paths outside the run directory."""
    known = record.get("sha256")
    names = known.items() if isinstance(known, Mapping) else ()
    return {name: digest for name, digest in names if isinstance(digest, str) and _stays_inside(PurePath(name))}


def _stays_inside(name: PurePath) -> bool:
    return bool(name.parts) and not name.is_absolute() and ".." not in name.parts


_RECORD = {
    **dict.fromkeys(("facts", "counts", "sha256", "provenance"), dict),
    **dict.fromkeys(("spaces", "copies", "of_images"), list),
}
"""Fields of a stage's record in the manifest that are neither text nor numbers."""


def _is_manifest(found: Any) -> bool:
    """Whether a manifest has the structure that readers rely on."""
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("stages"), dict):
        return False
    return all(
        isinstance(record, dict)
        and isinstance(record.get("digest"), str)
        and all(isinstance(record[name], kind) for name, kind in _RECORD.items() if name in record)
        for record in found["stages"].values()
    )


def _next_step(stage: str) -> str:
    return f"the same `saeviz run` recreates it, or --redo {stage}"


def _read(path: Path, stage: str, reader: Callable[[Path], Any]) -> Any:
    try:
        open_regular(path).close()  # fails for a pipe instead of blocking
        return reader(path)
    except FileNotFoundError as error:
        raise RunDirError(f"{path} is not there yet: run the stage {stage!r} first") from error
    except UNREADABLE as error:
        raise RunDirError(f"{path} cannot be read ({reason_of(error)}); recreate it with --redo {stage}") from error


def _holds_foreign_files(path: Path) -> bool:
    return any(not entry.name.startswith(".") and entry.name not in {"log.txt", "shards"} for entry in path.iterdir())


def digest_of(value: Any) -> str:
    """A digest, 16 hex digits, of a value that can be written as JSON."""
    return hashlib.sha256(_as_json(value)).hexdigest()[:16]


def digest_of_all(values: Iterable[Any]) -> str:
    """The digest of a list of these values, of which only one at a time is in memory."""
    digest = hashlib.sha256(b"[")
    for place, value in enumerate(values):
        digest.update(b"," if place else b"")
        digest.update(_as_json(value))
    digest.update(b"]")
    return digest.hexdigest()[:16]


def _as_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
