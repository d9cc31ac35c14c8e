"""The report on a made-up run of three spaces of 49,152 features and 2,000 images: writing it, and using it.

Writing is compared with `pandas.read_parquet` of the run's tables, whole. Each use is measured in a headless Chromium
without a graphics processor, from `file://`: milliseconds until the page shows it, and milliseconds of processor time
of all processes of Chromium until a frame of it is drawn, which other work on the machine changes little. What is done
more than once is done with other columns, words or features each time, since the page keeps what it has computed. The
baselines are an empty page, a page that only loads the same data files, a comparison sort, a filter over rows that are
objects, and a look at every point. Needs `chromium` on the path.

    python -m benchmarks.explorer
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.reading import BASELINE, measure
from saeviz.toolkit.packed import packed
from saeviz_report.explorer.files import as_script
from tests.browser.chromium import Browser

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
MAPPED = 49_152 * 2 + 4711
"""The row of the feature that gets heatmaps, which no model has made."""
FIRST = {"overview": "", "table": "view=features&plot=none", "table and plot": "view=features"}
TABLE = "view=features&plot=none"
USES = {
    "sort": [f"{TABLE}&sort={way}{key}" for way in ("-", "") for key in ("r[beauty]", "r[valence]", "max", "ms_z")],
    "filter": [f"{TABLE}&r.monosemanticity={low}..2" for low in (-1, -0.5, 0, 0.5, 1)],
    "filter, with the plot": [f"view=features&r.monosemanticity={low}..2" for low in (-1.1, -0.6, 0.1, 0.6, 1.1)],
    "search": [f"{TABLE}&q={words}" for words in ("11.cls", "7.cls/1", "471", "9.cls/22", "layer")],
    "card": [f"{TABLE}&feature=layer11.cls/{index}" for index in (4711, 12, 40_000, 999, 31_000)],
    "wall of images": ["view=images", "view=images&by=-ratings:beauty"],
    "page of an image": [f"view=image&image=picture-{number:04}.png" for number in (7, 700, 1400)],
}
READY = """new Promise(done => {
  const look = () => document.documentElement.dataset.ready ? done(performance.now()) : setTimeout(look, 5);
  look();
})"""
TIMED = """(async () => {
  const start = performance.now();
  %s;
  while (saeviz.shows !== location.hash) {
    if (performance.now() > start + 60000) throw new Error(`${location.hash} is not shown`);
    await new Promise(done => setTimeout(done, 2));
  }
  document.body.offsetHeight;
  return performance.now() - start;
})()"""
FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 20)))"
DRAG = """((over, places) => {
  const box = over.getBoundingClientRect();
  over.setPointerCapture = () => {};
  places.forEach(([x, y], i) => over.dispatchEvent(new PointerEvent(
    i === 0 ? 'pointerdown' : i === places.length - 1 ? 'pointerup' : 'pointermove',
    {clientX: box.left + x * box.width, clientY: box.top + y * box.height})));
})(document.querySelector('%s'), %s)"""
BRUSH = DRAG % (".brushable", "[[.3, .5], [.5, .5], [.7, .5]]")
LASSO = DRAG % (".scatter .over", "[[.3, .3], [.7, .3], [.7, .7], [.3, .7], [.3, .31]]")
HEATMAP = "document.getElementById('heat').click(), document.querySelectorAll('.heat').length"
TO_IMAGE = "document.querySelector('#card .picture').click(), document.querySelector('#enlarged a').click()"
HOVER = """(() => {
  const over = document.querySelector('.scatter .over'), box = over.getBoundingClientRect();
  for (let i = 0; i < 200; i++) over.dispatchEvent(new PointerEvent('pointermove',
    {clientX: box.left + 60 + (i * 37) % (box.width - 80), clientY: box.top + 20 + (i * 53) % (box.height - 60)}));
})()"""
BASELINES = {
    "comparison sort": """(async () => {
      const features = new saeviz.Features(await saeviz.need("run"));
      const { values } = (await features.columns(["r[beauty]"])).get("r[beauty]");
      for (let i = 0; i < 5; i++)
        Uint32Array.from(values, (_, row) => row).sort((a, b) => values[b] - values[a] || a - b);
    })()""",
    "filter of objects": """(async () => {
      const features = new saeviz.Features(await saeviz.need("run"));
      const columns = [...await features.columns(["r[beauty]", "monosemanticity", "n_active", "max"])];
      const rows = Array.from({length: features.n}, (_, row) =>
        Object.fromEntries(columns.map(([key, column]) => [key, column.at(row)])));
      for (let i = 0; i < 5; i++) rows.filter((row) => row.monosemanticity >= -1 + i / 5 && row.monosemanticity <= 2);
    })()""",
    "a look at every point": """(async () => {
      const features = new saeviz.Features(await saeviz.need("run"));
      const columns = await features.columns(["monosemanticity", "r[beauty]"]);
      const [xs, ys] = [...columns.values()].map((one) => one.values);
      let found = 0;
      for (let i = 0; i < 5; i++) {
        let [best, least] = [-1, Infinity];
        for (let row = 0; row < xs.length; row++) {
          const far = (xs[row] - i / 5) ** 2 + (ys[row] - i / 9) ** 2;
          if (far < least) [best, least] = [row, far];
        }
        found += best;
      }
      return found;
    })()""",
}


class Tab:
    """A tab of Chromium, and the processor time of all its processes."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        browser.call("Network.disable")  # which would keep a copy of every data file

    def seconds(self) -> float:
        """Milliseconds of processor time until now."""
        children: dict[int, list[int]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
            children.setdefault(parent, []).append(int(stat.parent.name))
        return _milliseconds(self.browser.process, children)

    def first(self, page: Path, address: str = "") -> tuple[float, float]:
        """Milliseconds until a page is there, and of processor time until it is drawn."""
        self.browser.open_url("about:blank")
        before = self.seconds()
        self.browser.open_url(f"{page.as_uri()}#{address}")
        shown = float(self.browser.run(READY))
        self.browser.run(FRAME)
        return shown, self.seconds() - before

    def use(self, script: str) -> tuple[float, float]:
        """The same of something that is done on the page."""
        before = self.seconds()
        shown = float(self.browser.run(TIMED % script))
        self.browser.run(FRAME)
        return shown, self.seconds() - before

    def cpu(self, script: str, times: int) -> float:
        """Milliseconds of processor time of each time that a script does something."""
        before = self.seconds()
        self.browser.run(script)
        return (self.seconds() - before) / times


def _milliseconds(process: int, children: dict[int, list[int]]) -> float:
    total = sum(_milliseconds(child, children) for child in children.get(process, ()))
    for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
        try:
            total += int(thread.read_text().split()[0]) / 1e6
        except OSError:
            continue
    return total


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
        _add_heatmaps(run / "report")
        browser = Browser(profile)
        try:
            use(Tab(browser), run / "report" / "index.html", Path(folder))
            print("\n".join(browser.messages) or "no message on the console")
        finally:
            browser.close()


def use(tab: Tab, page: Path, folder: Path) -> None:
    """Print what the page takes to be shown and to be used, and the baselines."""
    print(f"{'':24}{'shown, ms':>10}{'processor, ms':>15}")
    empty = folder / "empty.html"
    empty.write_text("<!doctype html><html data-ready=yes><p>nothing")
    tab.first(empty)
    _print("an empty page", [tab.first(empty) for _ in range(3)])
    for name, address in FIRST.items():
        found = [tab.first(page, address) for _ in range(3)]
        asked = tab.browser.run("saeviz.asked().map(name => name + '.js')")
        data = _only_data(page, asked, folder)
        alone = [tab.first(data) for _ in range(3)]
        _print(f"first view: {name}", found)
        _print("  its data files alone", alone)
        print(f"  {len(asked)} files, {sum((_data_of(page) / one).stat().st_size for one in asked) / 2**20:.1f} MiB")
    tab.first(page)
    for name, addresses in USES.items():
        _print(name, [tab.use(f"location.hash = {address!r}") for address in addresses])
    tab.use(f"location.hash = '{TABLE}'")
    _print("brush", [tab.use(BRUSH)])
    tab.use(f"location.hash = '{TABLE}&feature=layer11.cls/4711'")
    _print("heatmaps", [tab.use(HEATMAP)])
    _print("card to image", [tab.use(TO_IMAGE)])
    _print("and back", [tab.use("await (history.back(), new Promise(done => addEventListener('popstate', done)))")])
    tab.use("location.hash = 'view=features'")
    print(f"{'hover':24}{'':10}{tab.cpu(HOVER, 200):15.2f}")
    _print("lasso", [tab.use(LASSO)])
    for name, script in BASELINES.items():
        print(f"{name:24}{'':10}{tab.cpu(script, 5):15.2f}")


def _print(name: str, found: Sequence[tuple[float, float]]) -> None:
    shown, cpu = (median(one) for one in zip(*found, strict=True))
    print(f"{name:24}{shown:10.0f}{cpu:15.0f}")


def _data_of(page: Path) -> Path:
    [content] = set(re.findall(r"content-\w+", page.read_text()))
    return page.parent / content / "data"


def _only_data(page: Path, asked: Sequence[str], folder: Path) -> Path:
    """A page that loads data files and does nothing with them."""
    scripts = "".join(f'<script src="{(_data_of(page) / name).as_uri()}"></script>' for name in asked)
    nothing = folder / "data.html"
    nothing.write_text(
        f"<!doctype html><html data-ready=yes><script>const saeviz = {{receive: () => {{}}}}</script>{scripts}"
    )
    return nothing


def _add_heatmaps(report: Path) -> None:
    """Heatmaps of one feature, as a model would have made them."""
    data = _data_of(report / "index.html")
    maps = packed(np.arange(49, dtype=np.uint8) * 5)
    of_image = {"largest": 1.0, "columns": 7, "values": maps, "box": [0, 0, 1, 1]}
    (data / "heatmaps").mkdir()
    name = f"heatmaps/{MAPPED}"
    (data / f"{name}.js").write_text(as_script(name, [{"item": item, **of_image} for item in range(N_IMAGES)]))
    run = data / "run.js"
    run.write_text(run.read_text().replace('"heatmaps":[]', f'"heatmaps":[{MAPPED}]'))


if __name__ == "__main__":
    main()
