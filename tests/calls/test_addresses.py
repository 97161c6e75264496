"""A trunk whose audio comes from elsewhere than its SDP says: behind a NAT, by another port, from a host with
two addresses."""

import re

import pytest

import audio
import raw_sip
from raw_rtp import RawRtp
from raw_sip import RawSip
from waiting import wait_until

# Another address of this host: all of 127.0.0.0/8 is. The SDP says 127.0.0.1.
ELSEWHERE = "127.0.0.2"
# Five packets of 20 ms are proof; what a stranger has to be refused for is ten times as long.
PACKETS = 50


class Trunk:
    """A carrier's gateway by hand: one call to a browser, and its audio."""

    def __init__(self, closing, codes, speaks_at=ELSEWHERE):
        self.sip = closing(RawSip())
        self.telephone = closing(RawRtp(codes, speaks_at))

    def call(self, phone, gateway, attributes=""):
        phone.register(gateway)
        phone.wait_for("registered")
        offer = raw_sip.offer("0", attributes, self.telephone.port)
        invite = self.sip.invite("1001", offer)
        self.sip.send(invite, gateway)
        phone.wait_for("ringing")
        phone.answer()
        response = self.sip.final_response(invite, gateway)
        assert raw_sip.status(response) == 200, response
        self.answer = response
        self.telephone.speak_to(gateway.calls()[0]["a"]["rtp"])

    def take_bye(self, gateway):
        def bye():
            message = self.sip.receive(1)
            return message if message and message.startswith("BYE") else None

        self.sip.send(raw_sip.answer_to(wait_until(bye, "BYE at the trunk", 5)), gateway)


@pytest.fixture
def codes(sounds):
    return sounds["trunk codes"].read_bytes()


def lines(gateway, start):
    """What signaling logged that begins so."""
    return [line for line in gateway.log("signal").splitlines() if f" {start}" in line]


def received(gateway):
    """Of the trunk's leg: packets accepted, and datagrams of strangers."""
    with gateway.control() as control:
        leg = control.result("query_call", call=gateway.calls()[0]["call"])["a"]
    return leg["packets_received"], leg["discards"].get("unknown_source", 0)


@pytest.mark.parametrize("terms", [{}, {"media_within": ["127.0.0.3", "192.0.2.0/24"]}], ids=["no key", "others"])
def test_a_trunk_that_sends_from_elsewhere_is_not_heard_and_the_log_says_by_which_key_it_would_be(
        terms, open_phone, closing, codes, start_gateway):
    trunk = Trunk(closing, codes)
    gateway = start_gateway(trunk.sip, terms=terms)
    phone = open_phone()
    trunk.call(phone, gateway)

    wait_until(lambda: received(gateway)[1] >= PACKETS, lambda: f"strangers counted: {received(gateway)}", 10)
    wait_until(lambda: audio.hears("browser", *trunk.telephone.heard()), "the trunk to hear the browser", 15, 0.5)
    assert received(gateway)[0] == 0
    assert not audio.hears("trunk", *phone.heard())
    assert not trunk.telephone.payloads_elsewhere, "nobody is sent to where nothing was learnt"

    line, = lines(gateway, "not heard: ")
    assert " WARN " in line and "media_within of this [[trunk]]" in line
    call = gateway.calls()[0]["call"]
    for said in (f'call="{call}"', 'trunk="trunk-0"', f"from={trunk.telephone.speaks_from}",
                 f"expected={trunk.telephone.address}"):
        assert said in line, line
    phone.hang_up()
    trunk.take_bye(gateway)
    discards = gateway.wait_for_record()["statistics"]["a"]["discards"]
    assert discards["unknown_source"] >= PACKETS


def test_a_trunk_that_sends_from_elsewhere_is_heard_and_sent_to_there_where_its_terms_say_so(
        open_phone, closing, codes, start_gateway):
    trunk = Trunk(closing, codes)
    gateway = start_gateway(trunk.sip, terms={"media_within": [f"{ELSEWHERE}/32"]})
    phone = open_phone()
    trunk.call(phone, gateway)

    wait_until(lambda: audio.hears("trunk", *phone.heard()), "the browser to hear the trunk", 15, 0.5)
    wait_until(
        lambda: audio.hears("browser", *trunk.telephone.heard_elsewhere()), "the trunk to hear the browser", 15, 0.5)

    line, = lines(gateway, "the trunk sends from elsewhere than its SDP says")
    assert " INFO " in line and 'trunk="trunk-0"' in line and "media_within" in line
    assert f"remote={trunk.telephone.speaks_from}" in line and trunk.telephone.address in line
    assert not lines(gateway, "not heard: ")

    # Who comes later is not heard, although the terms would let it be.
    stranger = closing(RawRtp(codes, ELSEWHERE))
    stranger.speak_to(gateway.calls()[0]["a"]["rtp"])
    before = received(gateway)[1]
    wait_until(lambda: received(gateway)[1] >= before + PACKETS, "strangers to be counted", 10)
    line, = wait_until(lambda: lines(gateway, "not heard: "), "a line about the stranger", 15)
    assert f"from={stranger.speaks_from}" in line and "second address" in line
    assert not stranger.payloads_elsewhere
    phone.hang_up()
    trunk.take_bye(gateway)


@pytest.mark.parametrize(("theirs", "ours"), [("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")])
def test_an_offer_that_is_not_open_both_ways_is_answered_and_obeyed(
        theirs, ours, open_phone, closing, codes, start_gateway):
    trunk = Trunk(closing, codes, speaks_at=None)
    gateway = start_gateway(trunk.sip)
    phone = open_phone()
    trunk.call(phone, gateway, f"a={theirs}\n")
    assert re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)\r$", trunk.answer, re.MULTILINE)[1] == ours

    if theirs == "sendonly":
        wait_until(lambda: audio.hears("trunk", *phone.heard()), "the browser to hear the trunk", 15, 0.5)
    if theirs == "recvonly":
        wait_until(lambda: audio.hears("browser", *trunk.telephone.heard()), "the trunk to hear the browser", 15, 0.5)
    with gateway.control() as control:
        call = gateway.calls()[0]["call"]

        def statistics():
            return control.result("query_call", call=call)

        wait_until(lambda: statistics()["b"]["packets_received"] >= PACKETS, "the browser to speak", 10)
        wait_until(lambda: statistics()["a"]["packets_received"] >= PACKETS, "the trunk to speak", 10)
        seen = statistics()
    if theirs != "recvonly":
        assert not trunk.telephone.payloads and seen["a"]["packets_sent"] == 0
    if theirs != "sendonly":
        assert not audio.hears("trunk", *phone.heard())
        assert seen["a"]["discards"]["not_receiving"] >= PACKETS
    phone.hang_up()
    trunk.take_bye(gateway)
