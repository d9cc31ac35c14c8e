"""The argument of a benchmark that is told only how much to do."""

from __future__ import annotations

import argparse


def how_many(about: str | None, otherwise: int) -> int:
    """The number on the command line; `about` is the docstring of the script, which `--help` shows."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("number", nargs="?", type=int, default=otherwise, help=f"how many (default: {otherwise})")
    given: int = parser.parse_args().number
    return given
