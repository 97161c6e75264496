"""RED (RFC 2198) and in-band FEC between the gateway and real browsers, over a path that loses packets;
and what the browsers' encoders really do when they are answered by us."""

import time

import audio
import opus
import pytest

from lossy import LossyPath
from starvation import Watch

RED, OPUS = 63, 111
LOSS = 0.10
# The path's losses are the same ones in each call that is as long.
TALK_S = 6
ATTEMPTS = 3


@pytest.fixture
def talk_over(open_phone, start_trunk, start_gateway, closing):
    """Makes a call over a lossy path and lets both sides talk; returns what the page, the trunk, the
    path and the gateway noted. The call is over then."""
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phones = {}

    def phone_in(browser):
        if browser not in phones:
            phones[browser] = open_phone(browser=browser)
            phones[browser].register(gateway)
            phones[browser].wait_for("registered")
        return phones[browser]

    def talk(to_gateway=0.0, to_browser=0.0, browser=None, **shaping):
        phone = phone_in(browser)
        path = closing(LossyPath(gateway.browser_port, to_gateway, to_browser))
        phone.do("forgetFrames")
        phone.call("+15550100", shaping={"detour": path.detour, "watch_frames": True, **shaping})
        phone.wait_for("confirmed")
        phone.wait_for("audio-arrives")
        time.sleep(TALK_S)
        inbound = phone.stats("inbound-rtp")[0]
        with gateway.control() as control:
            call = gateway.calls()[0]["call"]
            leg = control.result("query_call", call=call)["a"]
        phone.hang_up()
        phone.wait_for("ended")
        return Talk(phone.page.evaluate("phone.frames"), inbound, leg, path, trunk.heard())

    return talk


class Talk:
    def __init__(self, frames, inbound, leg, path, at_trunk):
        self.frames, self.inbound, self.leg, self.path = frames, inbound, leg, path
        self.at_trunk = at_trunk

    @property
    def concealed(self):
        """The share of what the browser played that its decoder had to make up."""
        made_up = self.inbound["concealedSamples"] - self.inbound["silentConcealedSamples"]
        return made_up / self.inbound["totalSamplesReceived"]

    def of_type(self, payload_type):
        return [frame for frame in self.frames if frame["payload_type"] == payload_type]


def test_chromium_plays_what_our_redundancy_brings_back(talk_over, report):
    for _ in range(ATTEMPTS):
        with Watch() as watch:
            with_red = talk_over(to_browser=LOSS)
            without = talk_over(to_browser=LOSS, only_codecs=["opus", "telephone-event"])
        report(
            f"{LOSS:.0%} lost, made up by Chromium: {with_red.concealed:.2%} with RED,"
            f" {without.concealed:.2%} with FEC only; {watch}")
        # A late Chromium makes up audio whatever arrived.
        if not watch.starved:
            break
    for talk in (with_red, without):
        assert talk.path.lost["browser"] > 0.05 * talk.path.passed["browser"]
    assert with_red.path.payload_types["browser"][RED] > 0
    assert without.path.payload_types["browser"][RED] == 0
    assert with_red.concealed < without.concealed
    # It was offered RED behind Opus, so what it sends is plain.
    assert with_red.of_type(OPUS) and not with_red.of_type(RED)


def test_a_chromium_that_prefers_red_sends_it_and_the_trunk_hears_no_loss(talk_over, report):
    talk = talk_over(to_gateway=LOSS, prefer_red=True)

    sent = talk.of_type(RED)
    assert sent and not talk.of_type(OPUS)
    repeated = [opus.copies(frame["head"]) for frame in sent]
    assert all([offset for offset, _ in copies] == [960] for copies in repeated[1:]), repeated[:5]
    leg, lost = talk.leg, talk.path.lost["gateway"]
    report(f"{lost} lost, {leg['packets_recovered']} came with the next packet, {leg['frames_concealed']} concealed")
    assert leg["packets_recovered"] > 0.75 * lost
    # What RTCP tells the browser is what the network did.
    assert abs(leg["packets_lost"] - lost) <= 2
    assert audio.hears("browser", *talk.at_trunk)


@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_a_browser_sends_narrowband_and_fec_once_it_is_told_of_loss(name, request, talk_over, report):
    browser = request.getfixturevalue(name)
    clean = talk_over(browser=browser)
    lossy = talk_over(to_gateway=LOSS, browser=browser)

    report(browser.version)
    for name, talk in (("clean", clean), ("lossy", lossy)):
        report(f"{name}: {opus.summary(talk.frames)}")
        packets = [opus.packet(frame["head"], frame["bytes"]) for frame in talk.frames]
        assert {packet.frame_ms for packet in packets} == {20}
        assert {packet.mode.split()[1] for packet in packets} == {"narrow"}
        assert not any(packet.stereo for packet in packets)
        with_fec = sum(packet.fec for packet in packets)
        assert (with_fec == 0) if talk is clean else (with_fec > len(packets) / 10)
    assert lossy.leg["frames_recovered"] > 0
