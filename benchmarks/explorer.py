"""The report on a made-up run of three spaces of 49,152 features and 2,000 images: writing it, and using it.

Writing is compared with `pandas.read_parquet` of the run's tables, whole. Each use is timed in a headless Chromium
without a graphics processor, from `file://`, and compared with opening a page that has nothing on it. Needs `chromium`
on the path.

    python -m benchmarks.explorer
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.reading import BASELINE, measure
from tests.browser.conftest import Browser

REPORT = """
import sys, saeviz
print(saeviz.component("reporter", "html").write(saeviz.open_run(sys.argv[1])))
"""
MAKE = """
import pathlib, sys
from benchmarks.reading import SPACES, make_run
make_run(pathlib.Path(sys.argv[1]), SPACES[::2], int(sys.argv[2]))
"""
N_IMAGES = 2000
READY = """new Promise(done => {
  const look = () => document.documentElement.dataset.ready ? done(performance.now()) : setTimeout(look, 5);
  look();
})"""
TIMED = """(async () => {
  const start = performance.now();
  %s
  while (saeviz.shows !== location.hash) await new Promise(done => setTimeout(done, 2));
  document.body.offsetHeight;
  return performance.now() - start;
})()"""
HOVER = """(() => {
  const over = document.querySelector('.scatter .over'), box = over.getBoundingClientRect();
  const start = performance.now();
  for (let i = 0; i < 200; i++) over.dispatchEvent(new PointerEvent('pointermove',
    {clientX: box.left + 60 + (i * 37) %% (box.width - 80), clientY: box.top + 20 + (i * 53) %% (box.height - 60)}));
  return (performance.now() - start) / 200;
})()""".replace("%%", "%")
USES = {
    "all features, first view": "location.hash = 'view=features&plot=none'",
    "with the plot": "location.hash = 'view=features'",
    "sort": "location.hash = 'view=features&plot=none&sort=-r[beauty]'",
    "filter": "location.hash = 'view=features&plot=none&sort=-r[beauty]&r.monosemanticity=0..1'",
    "search": "location.hash = 'view=features&plot=none&q=11.cls'",
    "open a card": "location.hash = 'view=features&plot=none&q=11.cls&feature=layer11.cls/4711'",
    "all images": "location.hash = 'view=images'",
    "an image": "location.hash = 'view=image&image=picture-0007.png'",
}


def main() -> None:
    """Print all of it."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as profile:
        # In a process of its own, since a process that is started counts the memory of its parent as its peak.
        subprocess.run([sys.executable, "-c", MAKE, folder, str(N_IMAGES)], check=True)
        run = Path(folder) / "run"
        base, written = (measure([sys.executable, "-c", code, str(run)], 1) for code in (BASELINE, REPORT))
        print(f"all tables, pandas  {base[0]:6.1f} s, peak {base[1]:5.0f} MiB")
        ratio = written[0] / base[0]
        print(f"writing             {written[0]:6.1f} s, {ratio:.1f} of that; peak {written[1]:5.0f} MiB")
        size = sum(path.stat().st_size for path in (run / "report").rglob("*") if path.is_file())
        print(f"size                {size / 2**20:6.0f} MiB")
        empty = Path(folder) / "empty.html"
        empty.write_text("<!doctype html><html data-ready=yes><p>nothing")
        tab = Browser(profile)
        try:
            tab.open(empty)
            nothing = tab.run(READY)
            print(f"{'an empty page':26} {nothing:7.0f} ms")
            tab.open(run / "report" / "index.html")
            _print("overview", tab.run(READY), nothing)
            for name, what in USES.items():
                _print(name, tab.run(TIMED % what), nothing)
                if name == "with the plot":
                    _print("hover", tab.run(HOVER), nothing)
            print("\n".join(tab.messages) or "no message on the console")
        finally:
            tab.close()


def _print(name: str, milliseconds: float, nothing: float) -> None:
    print(f"{name:26} {milliseconds:7.1f} ms, {milliseconds / nothing:6.2f} of an empty page")


if __name__ == "__main__":
    main()
