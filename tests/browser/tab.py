"""A report or a served run in the browser, and what a reader does in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

NAMES = "[...document.querySelectorAll('.rows .id')].map(one => one.textContent)"
COUNT = "document.getElementById('count').textContent"
CARD = "document.getElementById('card')"
OF_THE_GRAPHICS = ("GL Driver Message", "software WebGL")
"""What Chromium says of a machine without a graphics processor."""
SETTLED = f"""new Promise((done, failed) => {{
  const ready = () => document.documentElement.dataset.ready && saeviz.shows === location.hash;
  const look = () => setTimeout(() => ready() ? done() : look(), 30);
  setTimeout(() => failed(new Error(document.body.innerText)), {1000 * PATIENCE});
  look();
}})"""
DRAWN = SETTLED.replace("document.documentElement.dataset.ready", "document.querySelector('.scatter')?.dataset.painter")
CLICK = "[...document.querySelectorAll(%s)].find(one => one.textContent.startsWith(%s)).click()"
ENTER = """((selector, text, event) => {
  const box = document.querySelector(selector);
  box.value = text;
  box.dispatchEvent(new Event(event));
})(%s, %s, %s)"""
DRAG = """((selector, places) => {
  const over = document.querySelector(selector), box = over.getBoundingClientRect();
  over.setPointerCapture = () => {};
  places.forEach(([x, y], i) => over.dispatchEvent(new PointerEvent(
    i === 0 ? 'pointerdown' : i === places.length - 1 ? 'pointerup' : 'pointermove',
    {clientX: box.left + x * box.width, clientY: box.top + y * box.height})));
})(%s, %s)"""
PAINTED = """(() => {
  const canvas = document.querySelector('.dots'), flat = document.createElement('canvas');
  [flat.width, flat.height] = [canvas.width, canvas.height];
  const pen = flat.getContext('2d');
  pen.drawImage(canvas, 0, 0);
  return pen.getImageData(0, 0, flat.width, flat.height).data.some(part => part > 0);
})()"""
ANY_WEBGL = """(of => of.getExtension = new Proxy(of.getExtension, {
  apply: (get, context, [name]) => name === 'WEBGL_debug_renderer_info' ? null : get.call(context, name)
}))(WebGL2RenderingContext.prototype), 1"""
"""Also one that is imitated without a graphics processor, as Chromium does here."""
ZOOM_OUT = """document.querySelector('.scatter .over').dispatchEvent(
  new WheelEvent('wheel', {deltaY: 30, clientX: 400, clientY: 400, cancelable: true}))"""
NO_WEBGL = """HTMLCanvasElement.prototype.getContext = new Proxy(HTMLCanvasElement.prototype.getContext, {
  apply: (get, canvas, [kind, more]) => kind === 'webgl2' ? null : get.call(canvas, kind, more)
}), 1"""
UNTIL = f"""new Promise((done, failed) => {{
  const look = () => (%s) ? done() : setTimeout(look, 20);
  setTimeout(() => failed(new Error(document.body.innerText)), {1000 * PATIENCE});
  look();
}})"""
CODES = {"ArrowRight": 39, "Escape": 27, "Tab": 9, "Enter": 13}


class Tab:
    """The page in the browser, at the place that its address names."""

    def __init__(self, browser: Any, page: Path) -> None:
        self.browser = browser
        browser.open(page)
        self.settle()

    def run(self, script: str) -> Any:
        return self.browser.run(script)

    def go(self, address: str) -> None:
        self.do(f"location.hash = {json.dumps(address)}")

    def do(self, script: str) -> None:
        """Something that a user does, and what follows from it."""
        self.run(f"void ({script})")
        self.settle()

    def click(self, text: str, among: str = "button") -> None:
        """Click the first of the elements whose text begins so."""
        self.do(CLICK % (json.dumps(among), json.dumps(text)))

    def enter(self, text: str, into: str, event: str = "change") -> None:
        """Write into a box."""
        self.do(ENTER % (json.dumps(into), json.dumps(text), json.dumps(event)))

    def drag(self, over: str, *places: tuple[float, float]) -> None:
        """Press, move and let go over an element; places are shares of its width and height."""
        self.do(DRAG % (json.dumps(over), json.dumps(places)))

    def wait(self, milliseconds: int) -> None:
        self.run(f"new Promise(done => setTimeout(done, {milliseconds}))")
        self.settle()

    def until(self, condition: str) -> None:
        """Wait until an expression of the page is true."""
        until(self.browser, condition)

    def settle(self) -> None:
        """Wait until the page shows what its address says."""
        self.run(SETTLED)

    def messages(self) -> list[str]:
        """What the console says."""
        return messages_of(self.browser)


def press(tab: Tab, key: str) -> None:
    """Press a key and let it go."""
    code = {"key": key, "code": key, "windowsVirtualKeyCode": CODES[key]}
    text = {"text": "\r"} if key == "Enter" else {}
    tab.browser.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
    tab.browser.call("Input.dispatchKeyEvent", type="keyUp", **code)
    tab.wait(30)


def until(browser: Any, condition: str) -> None:
    """Wait until an expression of the page is true."""
    browser.run(UNTIL % condition)


def messages_of(browser: Any) -> list[str]:
    """What the console says, but for what Chromium says of a machine without a graphics processor."""
    return [text for text in browser.messages if not any(word in text for word in OF_THE_GRAPHICS)]
