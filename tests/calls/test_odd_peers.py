"""What carriers send and browsers' libraries cannot take, and the other way round: each side sees only what it
knows. SIPp or a hand-made trunk on one side, JsSIP and SIP.js on the other."""

import pytest

import raw_sip
import sipp
from raw_sip import RawSip

SDP = """v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
"""
IN_PARTS = f"""--p1
Content-Type: application/sdp
Content-Disposition: session;handling=required

{SDP}
--p1
Content-Type: application/isup;version=itu-t92+
Content-Disposition: signal;handling=optional

--p1--
"""
CONTACT = "Contact: <sip:[local_ip]:[local_port]>"
ODD = {
    "without a To tag": {"tag": "", "contact": CONTACT, "type": "application/sdp", "body": SDP},
    "with two Contacts": {
        "tag": ";tag=odd", "contact": f"Contact: <tel:+15550123>\n{CONTACT}", "type": "application/sdp",
        "body": SDP},
    "with ISUP beside its SDP": {
        "tag": ";tag=odd", "contact": CONTACT, "type": "multipart/mixed;boundary=p1", "body": IN_PARTS},
    "with a video line and blanks": {
        "tag": ";tag=odd", "contact": CONTACT, "type": "application/sdp",
        "body": SDP.replace("m=audio ", "m=audio  ") + "m=video 0 RTP/AVP\n"},
}


@pytest.fixture
def ready_phone(library, open_phone):
    def ready(gateway):
        phone = open_phone(library)
        phone.register(gateway)
        phone.wait_for("registered")
        return phone
    return ready


@pytest.mark.parametrize("odd", ODD)
def test_an_answer(odd, ready_phone, start_sipp, start_gateway):
    trunk = start_sipp("odd", **ODD[odd])
    gateway = start_gateway(trunk)
    phone = ready_phone(gateway)
    phone.call("+15550100")
    phone.wait_for("confirmed")
    phone.hang_up()
    trunk.wait_until_done()
    assert gateway.wait_for_record()["sip_status"] == 200


def test_a_forking_trunk_that_wants_longer_sessions_and_reliable_responses_is_one_simple_callee(
    ready_phone, start_sipp, start_gateway
):
    trunk = start_sipp("fork")
    gateway = start_gateway(trunk)
    phone = ready_phone(gateway)
    phone.call("+15550100")
    phone.wait_for("confirmed")
    answers = [note["sdp"] for note in phone.notes("sdp") if note["by"] == "remote"]
    # SIP.js notes none. JsSIP applies each, and would fail on a second one that differs.
    assert len(set(answers)) <= 1, answers
    phone.hang_up()
    trunk.wait_until_done()


def test_an_invite_to_the_trunk_is_small_and_has_nothing_of_the_browser(ready_phone, start_sipp, start_gateway):
    trunk = start_sipp("refuse", status="486 Busy Here", reason="")
    gateway = start_gateway(trunk)
    phone = ready_phone(gateway)
    phone.call("+15550100")
    phone.wait_for("failed")
    invite = trunk.received("INVITE")[0]
    # Larger ones must go by TCP (RFC 3261 §18.1.1).
    assert len(invite.encode()) < 1300
    for word in ("ice-", "fingerprint", "candidate", "SAVPF", "opus", ".invalid", "ssrc", "extmap"):
        assert word not in invite, word
    assert sipp.header(invite, "Via").count("branch=") == 1


@pytest.mark.parametrize(("headers", "shown"), [
    ({"From": '"ACME CORP" <sip:+15550100@192.0.2.7>;tag=a1'}, "+15550100"),
    ({"From": "Bell, Alexander <sip:+15550100@192.0.2.7>;tag=a2"}, "+15550100"),
    ({"From": "<sip:+15550100;cpc=ordinary@192.0.2.7>;tag=a3"}, "+15550100"),
    ({"From": '"WIRELESS CALLER" <sip:@192.0.2.7>;tag=a4'}, "anonymous"),
    ({"From": "<sip:+15550100@192.0.2.7>;tag=a5", "Privacy": "id"}, "anonymous"),
], ids=["with a name", "with a comma in its name", "with parameters", "with a name only", "that hides"])
def test_a_caller(headers, shown, ready_phone, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    phone = ready_phone(gateway)
    number = "+442079460018;npdi;rn=+442079460999"
    invite = trunk.invite(number, raw_sip.offer(), **headers)
    assert raw_sip.status(trunk.try_to_ring(invite, gateway)) == 180
    assert phone.wait_for("ringing")["caller"] == shown
    trunk.give_up(invite, gateway)


def test_two_tabs_of_a_user_both_ring_and_the_first_to_answer_talks(
    library, open_phone, start_trunk, start_gateway
):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    tabs = [open_phone(library) for _ in range(2)]
    for tab in tabs:
        tab.register(gateway)
        tab.wait_for("registered")
    trunk.dial(f"sip:1001@{gateway.sip_address}")
    for tab in tabs:
        tab.wait_for("ringing")
    tabs[1].answer()
    trunk.wait_for("CALL_ESTABLISHED")
    tabs[0].wait_for("failed", "cancelled", "ended")
    tabs[1].wait_for("audio-arrives")
    trunk.hang_up()
    tabs[1].wait_for("ended")
