"""Calls that do not come about: each ends as its user would expect, with the SIP status and the
Q.850 cause (RFC 3326, RFC 3398 §7.2.4.1 and §8.2.6.1) on the other leg."""

import time

import pytest

import raw_sip
from ports import free_block
from raw_sip import RawSip
from sipp import header
from waiting import wait_until

# How often the room may have grown between one refusal and the next call.
ROOM_MOVES_MAX = 5


def registered(phone, gateway):
    phone.register(gateway)
    phone.wait_for("registered")
    return phone


@pytest.mark.parametrize(("answer", "status", "cause"), [
    ("486 Busy Here", 486, 17),
    ("404 Not Found", 404, 1),
    ("480 Temporarily Unavailable", 480, 18),
    ("603 Decline", 603, 21),
    ("488 Not Acceptable Here", 488, 88),
])
def test_the_caller_learns_why_the_trunk_refused(answer, status, cause, library, open_phone, start_sipp, start_gateway):
    trunk = start_sipp("refuse", status=answer)
    gateway = start_gateway(trunk)
    phone = registered(open_phone(library), gateway)

    phone.call("+15550100")

    failed = phone.wait_for("failed")
    assert failed["status"] == status
    assert f"cause={cause}" in failed["reason"]
    trunk.wait_until_done()
    record = gateway.wait_for_record()
    assert (record["sip_status"], record["q850_cause"]) == (status, cause)


def test_a_number_that_the_trunk_does_not_know_is_not_found(open_phone, start_trunk, start_gateway):
    gateway = start_gateway(start_trunk())
    phone = registered(open_phone(), gateway)

    phone.call("+15550199")

    failed = phone.wait_for("failed")
    assert failed["status"] == 404 and "cause=1" in failed["reason"]


def test_a_cancelled_call_stops_ringing_at_the_trunk(library, open_phone, start_sipp, start_gateway):
    trunk = start_sipp("ring")
    gateway = start_gateway(trunk)
    phone = registered(open_phone(library), gateway)
    phone.call("+15550100")
    phone.wait_for("progress")

    phone.hang_up()

    phone.wait_for("failed", "ended")
    cancel = trunk.wait_until_received("CANCEL")
    assert "cause=16" in (header(cancel, "Reason") or "")
    trunk.wait_until_done()


def test_a_caller_who_gives_up_stops_the_browser_ringing(library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = registered(open_phone(library), gateway)
    trunk.dial(f"sip:1001@{gateway.sip_address}")
    phone.wait_for("ringing")

    trunk.hang_up()

    phone.wait_for("failed", "cancelled")
    trunk.wait_for("CALL_CLOSED")


@pytest.mark.parametrize(("status", "cause"), [(486, 17), (603, 21)])
def test_the_trunk_learns_that_the_browser_declined(status, cause, library, open_phone, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    phone = registered(open_phone(library), gateway)
    invite = trunk.invite("1001", raw_sip.offer())
    trunk.send(invite, gateway)
    phone.wait_for("ringing")

    phone.do("decline", status)

    response = trunk.final_response(invite, gateway)
    assert raw_sip.status(response) == status
    assert f"cause={cause}" in header(response, "Reason")


@pytest.mark.parametrize(("number", "body", "status", "cause"), [
    ("+442079469999", raw_sip.offer(), 404, 1),
    ("1002", raw_sip.offer(), 480, 18),
    ("1001", raw_sip.offer("18", "a=rtpmap:18 G729/8000\n"), 488, 88),
], ids=["an unknown number", "a user who is not registered", "no common codec"])
def test_a_call_from_the_trunk_is_refused_for(number, body, status, cause, open_phone, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    registered(open_phone(), gateway)

    response = trunk.final_response(trunk.invite(number, body), gateway)

    assert raw_sip.status(response) == status
    assert f"cause={cause}" in header(response, "Reason")


def test_a_browser_without_a_common_codec_is_refused(open_phone, start_trunk, start_gateway):
    gateway = start_gateway(start_trunk())
    phone = registered(open_phone(), gateway)

    phone.call("+15550100", shaping={"only_codecs": ["G722"]})

    failed = phone.wait_for("failed")
    assert failed["status"] == 488 and "cause=88" in failed["reason"]


def test_a_trunk_that_answers_with_another_codec_is_hung_up(open_phone, start_sipp, start_gateway):
    trunk = start_sipp("answer", payload_type="18", codec="G729/8000")
    gateway = start_gateway(trunk)
    phone = registered(open_phone(), gateway)

    phone.call("+15550100")

    assert phone.wait_for("failed")["status"] in (488, 502)
    assert "cause=88" in header(trunk.wait_until_received("BYE"), "Reason")
    trunk.wait_until_done()


class SilentTrunk(RawSip):
    """Takes requests and answers none."""


def test_the_next_trunk_takes_over_when_the_first_is_unavailable(open_phone, start_sipp, start_trunk, start_gateway):
    first = start_sipp("refuse", status="503 Service Unavailable")
    second = start_trunk()
    gateway = start_gateway(first, second)
    phone = registered(open_phone(), gateway)

    phone.call("+15550100")

    phone.wait_for("confirmed")
    first.wait_until_done()
    phone.hang_up()
    second.wait_for("CALL_CLOSED")


def test_the_next_trunk_takes_over_when_the_first_is_silent(open_phone, closing, start_trunk, start_gateway):
    second = start_trunk()
    gateway = start_gateway(closing(SilentTrunk()), second)
    phone = registered(open_phone(), gateway)

    phone.call("+15550100")

    phone.wait_for("confirmed", timeout_s=15)
    phone.hang_up()
    second.wait_for("CALL_CLOSED")


def test_a_call_fails_when_the_only_trunk_is_silent(open_phone, closing, start_gateway):
    gateway = start_gateway(closing(SilentTrunk()))
    phone = registered(open_phone(), gateway)

    phone.call("+15550100")

    failed = phone.wait_for("failed", timeout_s=20)
    assert failed["status"] in (408, 503, 504) and "Q.850" in failed["reason"]


def test_a_call_fails_when_the_only_trunk_is_unavailable(open_phone, start_sipp, start_gateway):
    trunk = start_sipp("refuse", status="503 Service Unavailable")
    gateway = start_gateway(trunk)
    phone = registered(open_phone(), gateway)

    phone.call("+15550100")

    failed = phone.wait_for("failed")
    assert failed["status"] == 503 and "Q.850" in failed["reason"]
    trunk.wait_until_done()


def fill(trunk, gateway, ringing):
    """Makes calls until one is refused: the refusal, and how many ms it took."""
    while len(ringing) < 200:
        invite = trunk.invite("1001", raw_sip.offer())
        asked = time.monotonic()
        response = trunk.try_to_ring(invite, gateway)
        if raw_sip.status(response) != 180:
            break
        ringing.append(invite)
    return response, (time.monotonic() - asked) * 1000


@pytest.mark.parametrize(("limit", "cause"), [
    ({"calls_per_core": 1}, 34),
    ({"load_max_percent": 10}, 42),
], ids=["calls", "load"])
def test_a_call_too_many_is_refused_with_a_time_to_come_back(
        limit, cause, open_phone, closing, start_gateway, report):
    trunk = closing(RawSip())
    first_port = free_block(400)
    ports = {"trunk_ports": f"{first_port}-{first_port + 399}"}
    gateway = start_gateway(trunk, media={"cores": [0], **ports, **limit})
    phone = registered(open_phone(), gateway)
    ringing = []
    # What a call is found to cost falls when a busy machine has time again: then one more fits.
    for _ in range(ROOM_MOVES_MAX):
        response, answered_ms = fill(trunk, gateway, ringing)
        assert raw_sip.status(response) == 503, response
        assert 1 <= int(header(response, "Retry-After")) <= 60
        assert f"cause={cause}" in header(response, "Reason")
        report(f"{len(ringing)} calls fit; the next was refused after {answered_ms:.1f} ms")

        # A browser's call is refused alike.
        phone.call("+15550100")
        failed = phone.wait_for("failed", timeout_s=20)
        if failed["status"] != 504:  # let in, but the trunk does not answer
            break
    assert failed["status"] == 503 and f"cause={cause}" in failed["reason"]

    wait_until(
        lambda: (503, cause, "1001") in {
            (record["sip_status"], record["q850_cause"], record["from"]) for record in gateway.records()},
        lambda: f"a record of the browser's refused call: {gateway.records()}")
    for invite in ringing:
        assert raw_sip.status(trunk.give_up(invite, gateway)) == 487
    invite = trunk.invite("1001", raw_sip.offer())
    assert raw_sip.status(trunk.try_to_ring(invite, gateway)) == 180, "there is room again"
    trunk.give_up(invite, gateway)
