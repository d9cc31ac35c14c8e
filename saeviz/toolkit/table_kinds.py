"""Recognise kinds of files by ending and first bytes, and advise on unsupported ones."""

from __future__ import annotations

from pathlib import Path

_AS_CSV = "save it as CSV (UTF-8)"
_ADVICE = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), f"{_AS_CSV} from the spreadsheet program"),
    **dict.fromkeys((".sav", ".zsav", ".por"), f"{_AS_CSV} from SPSS, or with pandas.read_spss"),
    **dict.fromkeys((".dta",), f"{_AS_CSV} from Stata, or with pandas.read_stata"),
    **dict.fromkeys((".rds", ".rda", ".rdata"), f"{_AS_CSV} from R with write.csv"),
    **dict.fromkeys((".sas7bdat", ".xpt"), f"{_AS_CSV} from SAS, or with pandas.read_sas"),
    **dict.fromkeys(
        (".feather", ".arrow", ".ipc", ".orc", ".h5", ".hdf5"), "save it as Parquet or CSV, for instance with pandas"
    ),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz"), "save it as Parquet or CSV; pickles are never opened"),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db"), 'images.use = "sql" reads it'),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z"), "unpack it, or compress it with gzip (.csv.gz)"),
}
_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive", ".xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", ".xls"),
    (b"\x1f\x8b", "compressed with gzip; let its name end in .gz", ""),
    (b"PAR1", "a Parquet file; let its name end in .parquet", ""),
    (b"SQLite format 3\0", "a SQLite database", ".sqlite"),
    (b"%PDF", "a PDF document", ""),
    (b"$FL2", "an SPSS file", ".sav"),
    (b"<stata_dta>", "a Stata file", ".dta"),
    (b"<!DOCTYPE html", "a web page, perhaps from a failed download", ""),
    (b"<html", "a web page, perhaps from a failed download", ""),
)


def ending_of(path: Path) -> str:
    """The ending in lower case, including the one before `.gz`."""
    return "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def advice_on(ending: str) -> str:
    """Advice for a message on what to do with a file of this ending."""
    return _ADVICE.get(ending, "save it as CSV (UTF-8) or Parquet")


def refuse_what_is_no_text(data: bytes) -> None:
    """Raise `ValueError` for the beginning of a known kind of file that is not text."""
    for magic, what, ending in _MAGIC:
        if data[: len(magic)].lower() == magic.lower():
            raise ValueError(f"it is {what}" + (f"; {advice_on(ending)}" if ending else ""))
