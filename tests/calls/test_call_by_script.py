"""tools/webrtc_call.py: a browser talks with a telephone although no linecard signals."""

import base64
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import audio
from audio import BROWSER_HZ
from browser import BUNDLES
from gateway import ROOT
from raw_rtp import RawRtp
from waiting import wait_until

SCRIPT = ROOT / "tools" / "webrtc_call.py"


class Script:
    """The script as typed, on a free port."""

    def __init__(self, directory, control, telephone):
        self.output = directory / f"script-{len(list(directory.glob('script-*')))}"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, SCRIPT, "--control", control, "--rtp", telephone, "--http", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def printed(self):
        return self.output.read_text()

    def wait_for(self, pattern, timeout_s=10):
        """The first match in what it has printed."""
        return wait_until(
            lambda: re.search(pattern, self.printed()), lambda: f"{pattern} in {self.printed()}", timeout_s)

    def url(self):
        return self.wait_for(r"http://\S+")[0]

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class Page:
    """The script's page, used as a person would."""

    def __init__(self, page, url):
        self.page = page
        page.go(url)
        page.evaluate((BUNDLES / "listener.js").read_text())
        page.evaluate("listener.open()")
        page.evaluate("""document.getElementById("remote").addEventListener(
            "playing", ({ target }) => listener.listen(target.srcObject))""")

    def press(self, element):
        self.page.evaluate(f"document.getElementById({element!r}).click()")

    def type_digit(self, digit):
        self.page.evaluate("""document.getElementById("digits").dispatchEvent(
            new InputEvent("input", { data: %r }))""" % digit)

    def state(self):
        return self.page.evaluate("document.getElementById('state').textContent")

    def wait_for_state(self, state, timeout_s=10):
        wait_until(lambda: self.state() == state, lambda: f"the page to be {state}: {self.state()}", timeout_s)

    def heard(self):
        content = base64.b64decode(self.page.evaluate("listener.recording()", 30))
        return np.frombuffer(content, "<i2").astype(float) / 32768, BROWSER_HZ

    def close(self):
        self.page.close()


@pytest.fixture
def telephone(sounds, closing):
    return closing(RawRtp(sounds["trunk codes"].read_bytes()))


@pytest.fixture
def media(start_gateway):
    """A media process that nobody controls."""
    gateway = start_gateway()
    gateway.kill("signal")
    return gateway


@pytest.fixture
def start_script(tmp_path, media, telephone, closing):
    def start():
        return closing(Script(tmp_path, media.control_path, telephone.address))
    return start


@pytest.fixture
def talk(chromium, closing, telephone):
    """A call by the script's page."""
    def call(script):
        page = closing(Page(chromium.open(), script.url()))
        page.press("call")
        telephone.speak_to(script.wait_for(r"has to send its RTP to (\S+)")[1])
        page.wait_for_state("talking")
        return page
    return call


def test_a_browser_and_a_telephone_talk_by_script(start_script, talk, telephone, media):
    script = start_script()
    page = talk(script)

    wait_until(lambda: audio.hears("trunk", *page.heard()), "the browser to hear the telephone", 15, 0.5)
    wait_until(lambda: audio.hears("browser", *telephone.heard()), "the telephone to hear the browser", 15, 0.5)
    assert not audio.hears("browser", *page.heard())
    assert not audio.hears("trunk", *telephone.heard())
    page.type_digit("5")
    script.wait_for("the browser pressed 5 for [0-9]+ ms")
    assert telephone.digits() == "5"

    page.press("hang-up")
    script.wait_for("ended: the browser")
    print(script.printed())
    wait_until(lambda: not media.calls(), "the call to be deleted", 3)
