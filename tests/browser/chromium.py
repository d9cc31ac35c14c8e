"""A headless Chromium, driven through its debugging pipe: no driver to install, no port to open."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Browser:
    """One tab. `messages` are the console's warnings and errors, `requests` the addresses it asked for."""

    def __init__(self, profile: str) -> None:
        assert CHROMIUM
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def hand_over() -> None:
            # Chromium reads descriptor 3 and writes descriptor 4; move ours away first, they may have these numbers.
            reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_child, from_child))
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=hand_over,  # noqa: PLW1509 - the numbers of the descriptors are fixed
        )
        self.process = self._process.pid
        os.close(to_child)
        os.close(from_child)
        self._replies = self._read_replies()
        self._last_id = 0
        self._session: str | None = None
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol and its result."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        reply = self._wait(lambda got: got.get("id") == message["id"])
        assert "error" not in reply, reply
        result: dict[str, Any] = reply["result"]
        return result

    def open(self, page: Path, **how: Any) -> None:
        """Load a file and wait until it and its pictures in view are there."""
        self.open_url(page.as_uri(), **how)

    def open_url(self, url: str, *, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        """Load a page and wait until it is there."""
        self._go("about:blank")  # what the page before still asks for and says ends here
        self.messages.clear()
        self.requests.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._go(url)

    def _go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self._wait(lambda got: got.get("method") == "Page.loadEventFired")

    def reload(self) -> None:
        """Load the page again, as a user would."""
        self.call("Page.reload")
        self._wait(lambda got: got.get("method") == "Page.loadEventFired")

    def follow(self, link: str) -> None:
        """Click a link, by its selector, and wait until its page is there."""
        self.run(f"void setTimeout(() => document.querySelector({json.dumps(link)}).click())")
        self._wait(lambda got: got.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        reply = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def screenshot(self, to: Path) -> None:
        """What is in view, as PNG."""
        to.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        os.close(self._out)
        os.close(self._in)

    def _wait(self, wanted: Any) -> dict[str, Any]:
        for got in self._replies:
            self._note(got)
            if wanted(got):
                return got
        raise AssertionError("the browser went away")

    def _note(self, got: dict[str, Any]) -> None:
        params = got.get("params", {})
        match got.get("method"):
            case "Log.entryAdded" if params["entry"]["level"] in ("warning", "error"):
                self.messages.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" if params["type"] in ("warning", "error", "assert"):
                self.messages.append(str(params["args"]))
            case "Runtime.exceptionThrown":
                self.messages.append(str(params["exceptionDetails"]))
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])

    def _read_replies(self) -> Iterator[dict[str, Any]]:
        buffer = b""
        while data := os.read(self._in, 1 << 16):
            *whole, buffer = (buffer + data).split(b"\0")
            yield from map(json.loads, whole)
