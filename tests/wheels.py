"""Wheels of packages that lie in folders, built by their build system in this process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def built(packages: Iterable[Path], folder: Path) -> list[Path]:
    """The wheels, in `folder`; pip starts three processes for each package that it builds."""
    from hatchling.builders.wheel import WheelBuilder

    made = (WheelBuilder(str(package)).build(directory=str(folder), versions=["standard"]) for package in packages)
    return [Path(next(wheel)) for wheel in made]
