"""Headless Chromium over its debugging pipe (JSON messages, each ended by a NUL), and the phones in it."""

import base64
import functools
import http.server
import itertools
import json
import os
import re
import subprocess
import tempfile
import threading
from pathlib import Path

import numpy as np

from audio import BROWSER_HZ
from ports import ADDRESS
from waiting import wait_until

BUNDLES = Path(__file__).parent.parent / "browser" / "dist"

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors",
]


class Chromium:
    """One browser with a fresh profile whose microphone plays a 48 kHz WAV file in a loop."""

    def __init__(self, microphone):
        self.profile = tempfile.TemporaryDirectory(prefix="linecard-chromium-", ignore_cleanup_errors=True)
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        # The browser reads from descriptor 3 and writes to descriptor 4.
        wire = f'exec "$@" 3<&{read_there} 4>&{write_there}'
        self.process = subprocess.Popen(
            ["bash", "-c", wire, "chromium", "chromium", *FLAGS,
             f"--use-file-for-fake-audio-capture={microphone}",
             f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(read_there, write_there), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(read_there)
        os.close(write_there)
        self.incoming = os.fdopen(read_here, "rb", buffering=0)
        self.outgoing = os.fdopen(write_here, "wb", buffering=0)
        self.numbers = itertools.count(1)
        self.replies = {}
        self.events = []
        self.arrived = threading.Condition()
        self.closed = False
        threading.Thread(target=self._read, daemon=True).start()
        self.version = self.command("Browser.getVersion", timeout_s=30)["product"]

    def command(self, method, session=None, timeout_s=10, **parameters):
        """One command of the DevTools protocol."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self.outgoing.write(json.dumps(message).encode() + b"\0")
        with self.arrived:
            answered = self.arrived.wait_for(lambda: number in self.replies or self.closed, timeout_s)
            assert answered and number in self.replies, f"Chromium did not answer {method} in {timeout_s} s"
            reply = self.replies.pop(number)
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def open(self):
        """An empty page of its own, sharing nothing with the others."""
        context = self.command("Target.createBrowserContext")["browserContextId"]
        target = self.command("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, context, session)

    def events_of(self, session, method):
        with self.arrived:
            return [
                event["params"] for event in self.events
                if event.get("sessionId") == session and event["method"] == method
            ]

    def close(self):
        try:
            self.command("Browser.close", timeout_s=5)
        except (AssertionError, OSError):
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait(5)
        self.incoming.close()
        self.outgoing.close()
        self.profile.cleanup()

    def _read(self):
        pending = b""
        while True:
            try:
                received = os.read(self.incoming.fileno(), 1 << 20)
            except (OSError, ValueError):
                received = b""
            if not received:
                with self.arrived:
                    self.closed = True
                    self.arrived.notify_all()
                return
            *messages, pending = (pending + received).split(b"\0")
            with self.arrived:
                for text in messages:
                    message = json.loads(text)
                    if "id" in message:
                        self.replies[message["id"]] = message
                    else:
                        self.events.append(message)
                self.arrived.notify_all()


class Page:
    """One page of the browser."""

    def __init__(self, browser, context, session):
        self.browser = browser
        self.context = context
        self.session = session
        self.command("Page.enable")
        self.command("Runtime.enable")

    def command(self, method, timeout_s=10, **parameters):
        return self.browser.command(method, self.session, timeout_s, **parameters)

    def go(self, url, timeout_s=15):
        """Loads a page wholly."""
        failure = self.command("Page.navigate", timeout_s, url=url).get("errorText")
        assert not failure, f"{url}: {failure}"
        wait_until(lambda: self.browser.events_of(self.session, "Page.loadEventFired"), url, timeout_s)

    def evaluate(self, expression, timeout_s=10):
        """The value of a JavaScript expression; a promise is awaited, an exception fails the test."""
        outcome = self.command(
            "Runtime.evaluate", timeout_s=timeout_s, expression=expression,
            awaitPromise=True, returnByValue=True, userGesture=True,
        )
        if "exceptionDetails" in outcome:
            details = outcome["exceptionDetails"]
            said = details.get("exception", {}).get("description") or details["text"]
            raise AssertionError(f"in the page: {said}")
        return outcome["result"].get("value")

    def console(self):
        """What the page printed."""
        return [
            " ".join(str(argument.get("value", argument.get("description"))) for argument in entry["args"])
            for entry in self.browser.events_of(self.session, "Runtime.consoleAPICalled")
        ]

    def close(self):
        self.browser.command("Target.disposeBrowserContext", browserContextId=self.context)


class Phone:
    """A page with JsSIP or SIP.js in it (tests/browser); each method is one of the page's own."""

    def __init__(self, page, library):
        self.page = page
        self.library = library
        self.position = 0

    def do(self, method, *arguments, timeout_s=10):
        listed = ", ".join(json.dumps(argument) for argument in arguments)
        return self.page.evaluate(f"phone.{method}({listed})", timeout_s)

    def wait_for(self, *names, timeout_s=10):
        """The next note with one of these names, after the last one that was waited for."""
        note = self.do("waitFor", names, timeout_s * 1000, self.position, timeout_s=timeout_s + 5)
        self.position = note["position"] + 1
        return note

    def notes(self, name=None):
        """Everything noted so far, with the page's clock in milliseconds."""
        notes = self.page.evaluate("phone.notes")
        return [note for note in notes if name in (None, note["name"])]

    def register(self, gateway, user="1001", password=None, ice=None):
        self.gateway = gateway
        self.do("register", {
            "wss": gateway.wss_url, "user": user, "domain": gateway.domain,
            "password": password or gateway.password(user), "ice": ice or {},
        })

    def call(self, number, **options):
        self.do("call", f"sip:{number}@{self.gateway.domain}", options)

    def answer(self, **options):
        self.do("answer", options)

    def hold(self):
        self.do("hold")
        self.wait_for("held")

    def resume(self):
        self.do("resume")
        self.wait_for("resumed")

    def restart_ice(self):
        self.do("restartIce")
        self.wait_for("restarted")

    def transfer(self, number=None):
        """To a number; without one, to whom its last call is with."""
        self.do("transfer", *([f"sip:{number}@{self.gateway.domain}"] if number else []))

    def wait_for_transfer(self, *names):
        """The next news of it with one of these names."""
        while True:
            note = self.wait_for("transfer")
            if note["outcome"] in names:
                return note

    def hang_up(self):
        self.do("hangUp")

    def heard(self):
        """What came out of its loudspeaker so far: samples and rate."""
        content = base64.b64decode(self.do("recording", timeout_s=30))
        return np.frombuffer(content, "<i2").astype(float) / 32768, BROWSER_HZ

    def stats(self, kind):
        """The `RTCStatsReport` entries of one type."""
        return [entry for entry in self.do("stats").values() if entry["type"] == kind]

    def ice_fragment(self):
        """The gateway's ICE username fragment, as its SDP said."""
        sdp = self.page.evaluate("phone.connection.remoteDescription.sdp")
        return re.search("a=ice-ufrag:(\\S+)", sdp).group(1)

    def close(self):
        self.page.close()


class TestPages:
    """Serves the two phones' pages from an origin of their own."""

    __test__ = False

    def __init__(self):
        handler = functools.partial(_Pages, directory=BUNDLES)
        self.server = http.server.ThreadingHTTPServer((ADDRESS, 0), handler)
        self.origin = f"http://{ADDRESS}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, library):
        return f"{self.origin}/{library}.html"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class _Pages(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith(".html"):
            library = Path(self.path).stem
            body = f'<!doctype html><title>{library}</title><script src="{library}.js"></script>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()

    def log_message(self, *arguments):
        pass
