# SPDX-License-Identifier: GPL-2.0-or-later
"""Chromium without a window, driven by its DevTools protocol over a pair of pipes.

Knows how messages are framed (JSON, a NUL behind each), how a tab is made, and how keys
are pressed in it; does not know what is looked at. Nothing listens on a port, and names
other than loopback's lead nowhere.

Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60.0  # seconds for anything that is to happen
CHROMIUM = "chromium"
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--no-default-browser-check", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-proxy-server", "--metrics-recording-only"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
# By name: code, key code, and what it types.
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, "")}

Event = dict[str, Any]


class BrowserError(Exception):
    """The browser said no, or nothing at all."""


class Browser:
    """One process; `send` waits for its answer, events are kept until asked for."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, of: int) -> None:
        self._process = process
        self._to, self._of = to, of
        self._number = 0
        self._bytes = b""
        self._events: deque[Event] = deque()

    def send(self, method: str, session: str = "", **parameters: Any) -> Any:
        """The result of a command."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method}
        message["params"] = parameters
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]
            self._events.append(answer)

    def events(self, method: str, session: str) -> list[Event]:
        """What has happened of one kind in a tab so far; they are taken out."""
        mine = [
            event
            for event in self._events
            if event.get("method") == method and event.get("sessionId") == session
        ]
        for event in mine:
            self._events.remove(event)
        return [event["params"] for event in mine]

    def wait(self, method: str, session: str) -> Event:
        """The next event of a kind, or one that has come already."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.events(method, session)
            if found:
                return found[-1]
            self._events.append(self._read(deadline))

    def _read(self, deadline: float) -> Event:
        while b"\0" not in self._bytes:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._of], [], [], left)[0]:
                raise BrowserError("no answer from the browser")
            piece = os.read(self._of, 1 << 16)
            if not piece:
                raise BrowserError(f"the browser ended: {self._process.poll()}")
            self._bytes += piece
        message, _, self._bytes = self._bytes.partition(b"\0")
        parsed: Event = json.loads(message)
        return parsed


class Tab:
    """A page of a browser's, as some device would show it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        made = browser.send("Target.createTarget", url="about:blank")
        self._target = made["targetId"]
        attached = browser.send(
            "Target.attachToTarget", targetId=self._target, flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime", "DOM", "Accessibility"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """The result of a command in this tab."""
        return self._browser.send(method, self._session, **parameters)

    def close(self) -> None:
        """Close it."""
        self._browser.send("Target.closeTarget", targetId=self._target)

    def on_phone(self) -> None:
        """Be a phone: 390 by 844 points, three pixels each, touched, not clicked."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=390,
            height=844,
            deviceScaleFactor=3,
            mobile=True,
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=True)

    def on_desktop(self, width: int = 1280) -> None:
        """Be a window on a desktop."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )

    def with_media(self, media: str = "", **features: str) -> None:
        """Prefer a colour scheme (`prefers_color_scheme="dark"`), or be paper."""
        named = [
            {"name": name.replace("_", "-"), "value": value}
            for name, value in features.items()
        ]
        self.send("Emulation.setEmulatedMedia", media=media, features=named)

    def without_script(self) -> None:
        """Run nothing of a page."""
        self.send("Emulation.setScriptExecutionDisabled", value=True)

    def open(self, url: str) -> None:
        """Go there, and wait until all of it is."""
        self._browser.events("Page.loadEventFired", self._session)
        result = self.send("Page.navigate", url=url)
        if "errorText" in result:
            raise BrowserError(f"{url}: {result['errorText']}")
        self.loaded()

    def loaded(self) -> None:
        """Wait until a page is there whole."""
        self._browser.wait("Page.loadEventFired", self._session)

    def do(self, expression: str) -> Any:
        """What an expression of JavaScript comes to; a promise is waited for."""
        answer = self.send(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, and let it go."""
        code, text = _KEYS[key]
        same = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        down = "keyDown" if text else "rawKeyDown"
        more = {"text": text} if text else {}
        self.send("Input.dispatchKeyEvent", type=down, **same, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", **same)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        """Keep what the whole page looks like, as a PNG."""
        taken = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def paper(self, path: Path) -> bytes:
        """Keep the page as it is printed, as a PDF; returns it."""
        printed = self.send("Page.printToPDF", printBackground=False)
        content = base64.b64decode(printed["data"])
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return content

    def requested(self) -> list[str]:
        """The addresses that were asked for since the last time."""
        sent = self._browser.events("Network.requestWillBeSent", self._session)
        return [event["request"]["url"] for event in sent]

    def complaints(self) -> list[str]:
        """What the browser complained of since the last time."""
        entries = self._browser.events("Log.entryAdded", self._session)
        return [event["entry"]["text"] for event in entries]

    def spoken(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told of."""
        tree = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node["ignored"]
        ]

    def source(self) -> str:
        """The page as it is now, without running anything in it."""
        root = self.send("DOM.getDocument", depth=0)["root"]
        html: str = self.send("DOM.getOuterHTML", nodeId=root["nodeId"])["outerHTML"]
        return html


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser for the length of a with block; its profile is in a folder."""
    with contextlib.ExitStack() as stack:
        theirs, to = _pipe(stack, kept=1)
        of, ours = _pipe(stack, kept=0)
        # The protocol's descriptors are 3 and 4.
        script = f'exec "$@" 3<&{theirs} 4>&{ours}'
        argv = [CHROMIUM, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *argv],
            pass_fds=(theirs, ours),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(_end, process)
        os.close(theirs)
        os.close(ours)
        made = Browser(process, to, of)
        made.send("Browser.getVersion")
        yield made
        with contextlib.suppress(BrowserError, OSError):
            made.send("Browser.close")


def _pipe(stack: contextlib.ExitStack, *, kept: int) -> tuple[int, int]:
    """A pipe whose ends have numbers that nothing else wants.

    The end that is `kept` (0 for reading, 1 for writing) is closed with the stack.
    """
    ends = []
    for low in os.pipe():
        ends.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 64))
        os.close(low)
    stack.callback(os.close, ends[kept])
    return ends[0], ends[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, with all that it has started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
