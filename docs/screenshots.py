"""Take the pictures of the report that the README and the docs show, from the demo's run or another one.

    python -m docs.screenshots [RUN]

Needs `chromium` on the path. Pictures are written to `docs/images`, in light colours.
"""

from __future__ import annotations

import argparse
import tempfile
from base64 import b64decode
from pathlib import Path
from urllib.parse import quote

import saeviz
from tests.browser.chromium import Browser

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1280, 1280
SHOWN = """new Promise(done => {
  const drawn = () => document.documentElement.dataset.ready && saeviz.shows === location.hash
    && [...document.images].every(image => image.complete || !image.checkVisibility()
      || image.getBoundingClientRect().top > innerHeight);
  const look = () => drawn() ? setTimeout(done, 500) : setTimeout(look, 50);
  look();
})"""


def main() -> None:
    """Write the report of the run again and photograph it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run directory (default: the demo is run)")
    given = parser.parse_args().run
    with tempfile.TemporaryDirectory() as folder:
        run = saeviz.open_run(given) if given else _demo(Path(folder))
        page = saeviz.component("reporter", "html", single_file=True).write(run)
        try:
            _photograph(page, {"features": "view=features&plot=ms", "card": f"view=features&feature={_best(run)}"})
        finally:
            page.unlink()


def _demo(folder: Path) -> saeviz.Run:
    import saeviz_gallery

    demo = Path(saeviz_gallery.__file__).parent / "demo" / "run.toml"
    return saeviz.run(demo, settings=[f"run.dir={folder / 'demo'}"])


def _best(run: saeviz.Run) -> str:
    """Of the features whose name the judge confirmed the one with the strongest relation, else the first selected."""
    confirmed = run.judgements[run.judgements["verdict"] == "confirmed"]
    known = {str(saeviz.feature_of(row)) for row in confirmed.to_dict("records")}
    rows = saeviz.main_relation(run.correlations).sort_values("r", key=abs, ascending=False)
    names = (str(saeviz.feature_of(row)) for row in rows.to_dict("records"))
    return quote(next((name for name in names if name in known), str(run.selected[0].feature)))


def _photograph(page: Path, views: dict[str, str]) -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        tab = Browser(profile)
        try:
            for name, address in views.items():
                tab.open_url("about:blank")
                tab.open_url(f"{page.as_uri()}#{address}", width=WIDTH, height=HEIGHT)
                tab.run(SHOWN)
                taken = tab.call("Page.captureScreenshot", format="webp", quality=80)["data"]
                to = IMAGES / f"{name}.webp"
                to.write_bytes(b64decode(taken))
                print(f"{to}: {to.stat().st_size / 1000:.0f} kB")
        finally:
            tab.close()


if __name__ == "__main__":
    main()
