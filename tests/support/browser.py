"""A real browser, without a window: what a page says, asks for, and shows under the mouse."""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


# The text of what is shown at the mouse: Bokeh keeps it in trees of its own.
_TOLD = """() => {
    const found = [];
    const look = root => root.querySelectorAll("*").forEach(element => {
        if (element.classList.contains("told")) found.push(element.innerText);
        if (element.shadowRoot) look(element.shadowRoot);
    });
    look(document);
    return found.join("\\n");
}"""


class Tab:
    """One page, by Chromium's own protocol."""

    def __init__(self, loop, socket):
        self._loop, self._socket, self._number = loop, socket, 0
        self.errors, self.requests = [], []

    def ask(self, method, **parameters):
        return self._loop.run_until_complete(self._ask(method, parameters))

    async def _ask(self, method, parameters):
        self._number += 1
        number = self._number
        await self._socket.write_message(
            json.dumps({"id": number, "method": method, "params": parameters})
        )
        while True:
            message = json.loads(await asyncio.wait_for(self._socket.read_message(), 60))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message):
        told = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"].get("exception", {}).get("description"))
        elif message.get("method") == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.errors.append(str(told["args"]))
        elif message.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, path, width=1280, height=900, phone=False):
        self.errors.clear()
        self.requests.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=phone)  # fmt: skip
        self.ask("Page.navigate", url=Path(path).resolve().as_uri())
        self.until("document.readyState === 'complete'")
        return self

    def value(self, expression):
        """What an expression of JavaScript is, as JSON has it."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression, seconds=60):
        ends = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < ends, f"never true: {expression}"
            time.sleep(0.05)
        return self.value(expression)

    def point(self, x, y):
        for at in (x - 3, x):  # hovering begins with a move
            self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=at, y=y)

    def point_at_a_row(self, panel, row):
        """Move the mouse to a row of one of Bokeh's panels; what is then said of it."""
        place = self.value(f"""(() => {{
            const model = Bokeh.documents[0].all_models;
            const plots = [...model].filter(found => found.type === "Figure");
            const view = Bokeh.index.find_one_by_id(plots[{panel}].id);
            const drawn = plots[{panel}].renderers[0];
            const data = drawn.data_source.data, glyph = drawn.glyph;
            view.el.scrollIntoView({{block: "center"}});
            const box = view.el.getBoundingClientRect();
            return [box.left + view.frame.x_scale.compute(data[glyph.x.field][{row}]),
                    box.top + view.frame.y_scale.compute(data[glyph.y.field][{row}])];
        }})()""")
        self.point(*place)
        return self.until(f"({_TOLD})()")

    def picture(self, path, whole=True):
        found = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def scrolls_sideways(self):
        return self.value("document.documentElement.scrollWidth > window.innerWidth")


@contextmanager
def browser():
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    folder = tempfile.mkdtemp()
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
        f"--user-data-dir={folder}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    loop = asyncio.new_event_loop()
    try:
        for line in process.stderr:
            if line.startswith("DevTools listening on "):
                break
        address = line.split()[-1]
        port = address.split(":")[2].split("/")[0]

        async def connect():
            from tornado.httpclient import AsyncHTTPClient

            answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
            page = next(p for p in json.loads(answer.body) if p["type"] == "page")
            request = HTTPRequest(page["webSocketDebuggerUrl"])
            return await websocket_connect(request, max_message_size=2**28)

        tab = Tab(loop, loop.run_until_complete(connect()))
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        yield tab
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
