"""A newcomer's first minute: `linecard up` with no configuration, and the phone page it names."""

import base64
import os
import re
import subprocess

import numpy as np
import pytest

import audio
from audio import BROWSER_HZ, NARROWBAND_HZ
from browser import BUNDLES
from gateway import BINARY, ROOT
from waiting import wait_until

SPOKEN = ROOT / "src" / "up" / "trunk" / "speech"


class FirstStart:
    """`linecard up` as typed, except that the files it makes go to a directory of the test."""

    def __init__(self, directory):
        self.output = directory / "output"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [BINARY, "up"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=directory, env={**os.environ, "XDG_RUNTIME_DIR": str(directory)},
            )

    def page_url(self):
        """The address that it prints."""
        def printed():
            assert self.process.poll() is None, self.output.read_text()
            return re.search(r"https://\S+", self.output.read_text())

        return wait_until(printed, "linecard up to print an address", 20).group()

    def close(self):
        self.process.terminate()
        self.process.wait(10)


class PhonePage:
    """The phone page, used as a person would: through its fields and buttons."""

    def __init__(self, page, url):
        self.page = page
        page.command("Page.setBypassCSP", enabled=True)  # for the recorder alone
        page.go(url)
        page.evaluate((BUNDLES / "listener.js").read_text())
        page.evaluate("listener.open()")
        page.evaluate("""document.getElementById("remote-audio").addEventListener(
            "playing", ({ target }) => listener.listen(target.srcObject))""")

    def text(self, element):
        return self.page.evaluate(f"document.getElementById({element!r}).textContent")

    def press(self, element):
        self.page.evaluate(f"document.getElementById({element!r}).click()")

    def wait_for_text(self, element, pattern, timeout_s=10):
        wait_until(
            lambda: re.search(pattern, self.text(element)),
            lambda: f"{pattern} in #{element}, which reads {self.text(element)!r}", timeout_s, 0.1)

    def wait_until_registered(self):
        state = "document.getElementById('registration').dataset.state"
        wait_until(lambda: self.page.evaluate(state) == "registered", "the page to be registered")

    def dial(self, number):
        self.page.evaluate(f"document.getElementById('number').value = {number!r}")
        self.press("call")
        wait_until(lambda: self.page.evaluate("document.body.dataset.call") == "talking", "the call", 10)

    def heard(self):
        content = base64.b64decode(self.page.evaluate("listener.recording()", 30))
        samples = np.frombuffer(content, "<i2").astype(float) / 32768
        return audio.resample(samples, BROWSER_HZ, NARROWBAND_HZ)

    def close(self):
        self.page.close()


@pytest.fixture
def phone_page(tmp_path, chromium, closing):
    started = closing(FirstStart(tmp_path))
    url = started.page_url()
    page = closing(PhonePage(chromium.open(), url))
    page.wait_until_registered()
    return page


def spoken(name):
    return audio.from_g711((SPOKEN / f"{name}.ulaw").read_bytes())


def test_the_echo_number_says_back_what_is_said(phone_page):
    phone_page.dial("100")

    wait_until(
        lambda: audio.hears("browser", phone_page.heard(), NARROWBAND_HZ), "one's own words", 20, 0.5)
    phone_page.press("hang-up")
    wait_until(lambda: phone_page.page.evaluate("document.body.dataset.call") != "talking", "the end")


def test_the_speech_number_speaks(phone_page):
    phone_page.dial("101")

    wait_until(
        lambda: audio.best_piece(spoken("greeting"), phone_page.heard()) > audio.ALIKE, "the greeting", 20, 0.5)


def test_the_digit_number_reads_back_the_keys_that_were_pressed(phone_page):
    phone_page.dial("102")
    wait_until(
        lambda: audio.best_piece(spoken("prompt"), phone_page.heard()) > audio.ALIKE, "the prompt", 15, 0.5)
    phone_page.press("key-7")
    phone_page.press("key-4")
    phone_page.press("key-hash")

    def found():
        heard = phone_page.heard()
        return [audio.match(spoken(f"digit_{code}"), heard) for code in (7, 4, 11)]

    def read_back():
        likenesses, places = zip(*found())
        return min(likenesses) > audio.ALIKE and list(places) == sorted(places)

    wait_until(read_back, lambda: f"seven, four, hash to be read back: {found()}", 20, 0.5)


def test_the_page_shows_the_figures_of_the_line(phone_page):
    phone_page.dial("100")

    phone_page.wait_for_text("heard-codec", "(?i)opus")
    phone_page.wait_for_text("said-codec", "(?i)opus")
    phone_page.wait_for_text("heard-packets", r"\d{2,}")
    phone_page.wait_for_text("heard-lost", r"^\d+ \(")
    phone_page.wait_for_text("heard-jitter", r"[\d.]+ ms")
    phone_page.wait_for_text("round-trip", r"[\d.]+ ms", 15)
    phone_page.wait_for_text("loss", r"[\d.]+ %")
    for meter in ("said-meter", "heard-meter"):
        level = f"Number(document.getElementById({meter!r}).getAttribute('aria-valuenow'))"
        wait_until(lambda: phone_page.page.evaluate(level) > -40, f"{meter} to rise", 10, 0.05)
