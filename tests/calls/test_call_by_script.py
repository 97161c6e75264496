"""tools/webrtc_call.py: a browser talks with a telephone although no linecard signals."""

import base64
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

import audio
from audio import BROWSER_HZ
from browser import BUNDLES, Chromium
from gateway import ROOT
from ports import ADDRESS
from raw_rtp import RawRtp
from raw_stun import attribute, stun_message, stun_request, with_fingerprint
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
        with contextlib.suppress(BrokenPipeError):  # a test has killed the browser
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
    """A call by the script's page, in this browser or another."""
    def call(script, browser=chromium):
        page = closing(Page(browser.open(), script.url()))
        page.press("call")
        telephone.speak_to(script.wait_for(r"has to send its RTP to (\S+)")[1])
        page.wait_for_state("talking")
        script.wait_for("the browser is heard")
        return page
    return call


def post(url, content, content_type="application/sdp"):
    """Status and text of what the script says to an offer."""
    request = urllib.request.Request(f"{url}calls", content.encode(), {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


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
    script.wait_for("ended: the browser (hung up|said good-bye)")
    assert media.calls() == []


def test_browsers_call_one_after_the_other_and_at_once(start_script, talk, media):
    script = start_script()
    first, second = talk(script), talk(script)
    assert len(media.calls()) == 2

    first.press("hang-up")
    wait_until(lambda: len(media.calls()) == 1, "the first call to be deleted", 5)
    assert second.state() == "talking"
    first.press("call")
    first.wait_for_state("talking")
    assert len(media.calls()) == 2


def test_a_page_that_is_closed_ends_its_call(start_script, talk, media):
    page = talk(start_script())

    page.page.go("about:blank")

    wait_until(lambda: not media.calls(), "the call to be deleted", 5)


def test_the_script_ends_its_calls_when_it_is_told_to_stop(start_script, talk, media):
    script = start_script()
    page = talk(script)

    script.process.terminate()

    assert script.process.wait(5) == 0, script.printed()
    assert "ended: told to stop" in script.printed()
    assert media.calls() == []
    page.wait_for_state("ended by the script")


def test_what_a_killed_script_leaves_talks_on_until_the_next_run_ends_it(start_script, talk, telephone, media):
    killed = start_script()
    talk(killed)
    killed.process.kill()
    killed.process.wait(5)
    before = len(telephone.payloads)
    wait_until(lambda: len(telephone.payloads) > before + 25, "half a second of audio", 5)
    left = media.calls()[0]["call"]

    start_script().wait_for(f"{left}: ended: it was left by an earlier run")

    assert media.calls() == []


def test_a_browser_that_presents_another_certificate_gets_no_call(start_script, chromium, closing, media):
    script = start_script()
    page = closing(Page(chromium.open(), script.url()))
    page.page.evaluate("""{
        const honest = fetch;
        globalThis.fetch = (resource, options) => {
            if (options.body) options.body = options.body.replace(/(a=fingerprint:sha-256 )../, "$1AA")
                .replace(/(a=fingerprint:sha-256 AA:)../, "$1BB");
            return honest(resource, options);
        };
    }""")

    page.press("call")

    script.wait_for("ended: the browser's certificate is not the one whose fingerprint its SDP has")
    page.wait_for_state("failed")
    assert "secured" not in script.printed() and "is heard" not in script.printed()
    assert media.calls() == []


def test_only_authentic_checks_are_answered(start_script):
    offer = (ROOT / "tests/samples/chromium-jssip-out_quality-browser-offer.sdp").read_text()
    status, answer = post(start_script().url(), offer)
    assert status == 201
    ours, password = (re.search(f"a=ice-{name}:(.*)\r", answer)[1].encode() for name in ("ufrag", "pwd"))
    theirs = re.search("a=ice-ufrag:(.*)", offer)[1].strip().encode()
    candidate = re.search(r"a=candidate:1 1 udp \d+ (\S+) (\d+) typ host", answer)
    username, unchecked = ours + b":" + theirs, stun_request(ours + b":" + theirs, password)
    faulty = [
        stun_request(username, b"not the password of the answer"),
        stun_request(username, b""),
        stun_request(ours + b":other", password),
        stun_request(ours, password),
        stun_request(b"", password),
        stun_request(b"\xff\xfe:" + theirs, password),
        with_fingerprint(unchecked[: 20 + 4 + len(username) + -len(username) % 4]),  # no MESSAGE-INTEGRITY
        unchecked[:-1] + bytes([unchecked[-1] ^ 1]),                                # a wrong FINGERPRINT
        unchecked[:2] + (len(unchecked) - 28).to_bytes(2, "big") + unchecked[4:-8],  # none
        stun_request(username, password, more=attribute(0x7777, b"new")),           # to be understood, and not
        stun_request(username, password, more=attribute(0x8029, bytes(8))),         # who controls, then?
    ]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as browser:
        browser.settimeout(5)
        browser.connect((candidate[1], int(candidate[2])))
        for request in faulty:
            browser.send(request)
        # They are looked at in the order of their coming, so what is answered first is this one.
        browser.send(stun_request(username, password, b"an honest 1."))
        response = browser.recv(2000)
        port = browser.getsockname()[1]

    # XOR-MAPPED-ADDRESS: where the check came from (RFC 8489 §14.2), under the same password.
    mapped = struct.pack("!HHI", 1, port ^ 0x2112, int.from_bytes(socket.inet_aton(ADDRESS), "big") ^ 0x2112A442)
    assert response == stun_message(0x0101, attribute(0x0020, mapped), password, b"an honest 1.")


def test_what_is_no_offer_is_refused_with_the_reason(start_script, media):
    script = start_script()
    offer = (ROOT / "tests/samples/firefox-jssip-out_quality-browser-offer.sdp").read_text()

    assert post(script.url(), offer.replace("opus/48000", "G729/8000")) == (400, "the offer is of no use: no Opus")
    assert post(script.url(), "nonsense")[0] == 400
    assert post(script.url(), "x" * 70_000)[0] == 413
    # What another site's page can send without being asked for leave.
    assert post(script.url(), offer, "text/plain")[0] == 415
    assert post(script.url() + "elsewhere/", offer)[0] == 415
    assert media.calls() == []
    assert post(script.url(), offer)[0] == 201


def test_who_is_gone_without_a_good_bye_is_noticed(start_script, talk, closing, sounds, media):
    script = start_script()
    offer = (ROOT / "tests/samples/chromium-jssip-out_quality-browser-offer.sdp").read_text()
    dying = closing(Chromium(sounds["browser"]))
    talk(script, dying)
    os.killpg(dying.process.pid, signal.SIGKILL)
    assert post(script.url(), offer)[0] == 201
    assert len(media.calls()) == 2

    script.wait_for("ended: ICE and DTLS were not done in 15 s", 20)
    script.wait_for("ended: the browser is gone: consent_expired", 30)

    assert media.calls() == []


def test_a_second_control_plane_is_told_that_there_is_one(start_gateway, tmp_path, telephone, closing):
    gateway = start_gateway()

    second = closing(Script(tmp_path, gateway.control_path, telephone.address))

    assert second.process.wait(10) == 1
    assert "another program controls this media process, end it first (controlled_elsewhere" in second.printed()


def test_a_socket_that_is_not_there_is_named(tmp_path, telephone, closing):
    script = closing(Script(tmp_path, tmp_path / "media.sock", telephone.address))

    assert script.process.wait(10) == 1
    assert f"{tmp_path / 'media.sock'}: No such file or directory" in script.printed()


def test_the_script_ends_with_the_media_process(start_script, media):
    script = start_script()
    script.url()

    media.kill("media")

    assert script.process.wait(5) == 1
    assert "the media process has closed the control socket" in script.printed()
    media.start("media")
