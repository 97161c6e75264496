"""Input that no honest peer sends: it gets its answer, or silence, and calls go on."""

import itertools
import secrets
import socket
import ssl
import struct

import pytest

import audio
import raw_sip
from ports import ADDRESS
from raw_sip import RawSip
from raw_stun import stun_request
from waiting import wait_until


def talk(phone, gateway):
    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100")
    phone.wait_for("confirmed")
    phone.wait_for("audio-arrives")


def upgrade(gateway, **headers):
    """The status of a WebSocket upgrade over TLS."""
    lines = {
        "Host": f"{ADDRESS}:{gateway.wss_port}", "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "sip",
    }
    lines.update({name.replace("_", "-"): value for name, value in headers.items()})
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    anyone = ssl._create_unverified_context()
    with socket.create_connection((ADDRESS, gateway.wss_port), timeout=5) as plain:
        with anyone.wrap_socket(plain) as connection:
            connection.sendall(f"GET /sip HTTP/1.1\r\n{text}\r\n".encode())
            return int(connection.recv(4096).split(b" ")[1])


def test_a_wrong_password_is_refused_and_rings_nobody(library, open_phone, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    phone = open_phone(library)

    phone.register(gateway, password="wrong")

    assert phone.wait_for("registration-failed")["status"] == 401
    assert not phone.notes("registered")
    response = trunk.final_response(trunk.invite("1001", raw_sip.offer()), gateway)
    assert raw_sip.status(response) == 480


def test_a_page_of_a_foreign_origin_may_not_connect(start_trunk, start_gateway, test_pages):
    gateway = start_gateway(start_trunk())

    assert upgrade(gateway, Origin=test_pages.origin) == 101
    assert upgrade(gateway, Origin="https://evil.example") == 403
    assert upgrade(gateway, Origin="null") == 403


def test_a_websocket_without_the_sip_subprotocol_is_refused(start_trunk, start_gateway, test_pages):
    gateway = start_gateway(start_trunk())

    assert upgrade(gateway, Origin=test_pages.origin, Sec_WebSocket_Protocol=None) == 400
    assert upgrade(gateway, Origin=test_pages.origin, Sec_WebSocket_Protocol="sips") == 400


def without(message, name):
    lines = message.split("\r\n")
    return "\r\n".join(line for line in lines if not line.startswith(f"{name}:"))


# What is wrong with an INVITE, and what it is answered with (RFC 3261 §8.1.1, §18.3, §21.4.1).
REQUESTS = {
    "no CSeq": (lambda invite: without(invite, "CSeq"), {400}),
    "no Call-ID": (lambda invite: without(invite, "Call-ID"), {400}),
    "no From": (lambda invite: without(invite, "From"), {400}),
    "another method in CSeq": (lambda invite: invite.replace("1 INVITE", "1 OPTIONS"), {400}),
    "a CSeq that is no number": (lambda invite: invite.replace("1 INVITE", "x INVITE"), {400}),
    "a Content-Length beyond the datagram": (
        lambda invite: without(invite, "Content-Length").replace("CSeq:", "Content-Length: 9999\r\nCSeq:"), {400}),
    "a To that is no address": (lambda invite: invite.replace(f"To: <sip:1001@{ADDRESS}>", "To: ><"), {400}),
    "no hops left": (lambda invite: invite.replace("Max-Forwards: 70", "Max-Forwards: 0"), {483}),
    "an unknown required extension": (
        lambda invite: invite.replace("CSeq:", "Require: teleportation\r\nCSeq:"), {420}),
    "a version of the future": (lambda invite: invite.replace("SIP/2.0\r\n", "SIP/3.0\r\n", 1), {505, 400}),
    "a scheme we do not serve": (lambda invite: invite.replace("INVITE sip:1001", "INVITE tel:1001"), {400, 416}),
}


@pytest.mark.parametrize("fault", REQUESTS)
def test_a_faulty_request_is_answered_with_its_status(fault, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    break_it, statuses = REQUESTS[fault]

    response = trunk.final_response(break_it(trunk.invite("1001", raw_sip.offer())), gateway)

    assert raw_sip.status(response) in statuses


def test_what_cannot_be_answered_is_met_with_silence(closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    invite = trunk.invite("1001", raw_sip.offer())
    unanswerable = [
        b"\r\n\r\n", b"\0" * 100, secrets.token_bytes(1200), b"INVITE", b"SIP/2.0", b"A" * 65000,
        without(invite, "Via").encode(),
        b"SIP/2.0 200 OK\r\n\r\n", b"SIP/2.0 999999 OK\r\nVia: x\r\n\r\n",
        invite.replace("INVITE ", "ACK ").replace("1 INVITE", "1 ACK").encode(),
    ]

    for message in unanswerable:
        trunk.send(message, gateway)

    assert trunk.receive(1) is None
    assert raw_sip.status(trunk.final_response(invite, gateway)) == 480


@pytest.mark.parametrize("body", [
    "v=0\r\n", "nonsense", "v=0\r\nm=audio x RTP/AVP\r\n",
    raw_sip.offer(attributes="a=x:" + "y" * 50000 + "\n"),
], ids=["nearly empty", "not SDP", "a broken media line", "oversized"])
def test_an_offer_that_cannot_be_used_is_refused(body, open_phone, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    phone = open_phone()
    phone.register(gateway)
    phone.wait_for("registered")

    response = trunk.final_response(trunk.invite("1001", body), gateway)

    assert raw_sip.status(response) in (400, 413, 488)
    assert not phone.notes("ringing")


def test_requests_from_a_stranger_are_not_a_trunks(closing, open_phone, start_gateway):
    gateway = start_gateway(closing(RawSip()))
    stranger = closing(RawSip())
    phone = open_phone()
    phone.register(gateway)
    phone.wait_for("registered")

    response = stranger.final_response(stranger.invite("1001", raw_sip.offer()), gateway)

    assert raw_sip.status(response) == 403
    assert not phone.notes("ringing")


def test_garbage_on_the_websocket_is_answered_or_ends_only_that_connection(open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone()
    talk(phone, gateway)

    first = phone.page.evaluate("""new Promise((resolve, reject) => {
        const socket = new WebSocket(%r, 'sip');
        setTimeout(() => reject(new Error('no answer')), 5000);
        socket.onopen = () => {
            socket.send('nonsense');
            socket.send('INVITE sip:x@example.com SIP/2.0\\r\\nVia: SIP/2.0/WSS a.invalid;branch=z9hG4bK1\\r\\n\\r\\n');
        };
        socket.onmessage = ({ data }) => resolve(data);
        socket.onclose = () => resolve('closed');
    })""" % gateway.wss_url)

    assert first == "closed" or first.startswith("SIP/2.0 400")
    assert_still_talking(phone, trunk)
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def assert_still_talking(phone, trunk):
    said, rate_hz = phone.heard()
    wait_until(
        lambda: audio.hears("trunk", phone.heard()[0][len(said) :], rate_hz), "the browser to hear on", 12, 0.5)
    assert not phone.notes("ended")


# Datagrams to the browsers' port, and the reason that each is counted under.
DATAGRAMS = {
    "unknown_protocol": lambda: b"\xff" + secrets.token_bytes(50),
    "truncated": lambda: b"\x80",
    "bad_stun": lambda: b"\x00\x01\x00\x10\x21\x12\xa4\x42" + secrets.token_bytes(12),
    "bad_dtls": lambda: b"\x16\xfe\xfd" + bytes(8) + b"\xff\xff" + secrets.token_bytes(200),
    "unknown_source": lambda: b"\x80\x6f" + secrets.token_bytes(60),
}
EACH = 50


def test_garbage_at_the_browsers_port_is_counted_by_reason_and_the_call_goes_on(
        open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone()
    talk(phone, gateway)
    port = gateway.calls()[0]["a"]["rtp"]
    address = (ADDRESS, int(port.rsplit(":", 1)[1]))

    with gateway.control() as control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as garbage:
        before = control.discards()
        for make in DATAGRAMS.values():
            for _ in range(EACH):
                garbage.sendto(make(), address)
        # What is well-formed is for signaling to judge: DTLS from a stranger, a check of no leg, and
        # one of this call under a made-up password. None is answered.
        fragment = phone.ice_fragment()
        for _ in range(EACH):
            garbage.sendto(b"\x16\xfe\xfd" + bytes(8) + b"\x00\xc8" + secrets.token_bytes(200), address)
            garbage.sendto(stun_request(b"nobody:none"), address)
            garbage.sendto(stun_request(f"{fragment}:none".encode()), address)

        def counted():
            now = control.discards()
            return all(now.get(reason, 0) - before.get(reason, 0) >= EACH for reason in DATAGRAMS)

        wait_until(counted, lambda: f"{EACH} of each of {list(DATAGRAMS)}: {before} {control.discards()}", 5)
        garbage.settimeout(0.5)
        with pytest.raises(TimeoutError):
            print("answered:", garbage.recv(2000))

    assert_still_talking(phone, trunk)
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def test_garbage_from_the_trunk_is_counted_by_reason(open_phone, closing, start_gateway):
    trunk = closing(RawSip())
    gateway = start_gateway(trunk)
    phone = open_phone()
    phone.register(gateway)
    phone.wait_for("registered")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp:
        rtp.bind((ADDRESS, 0))
        invite = trunk.invite("1001", raw_sip.offer(port=rtp.getsockname()[1]))
        trunk.send(invite, gateway)
        phone.wait_for("ringing")
        phone.answer()
        response = trunk.final_response(invite, gateway)
        assert raw_sip.status(response) == 200
        host, port = gateway.calls()[0]["a"]["rtp"].rsplit(":", 1)
        numbers = itertools.count()

        def send():
            number = next(numbers)
            head = struct.pack("!HII", number, number * 160, 7)
            rtp.sendto(b"\x80\x60" + head + bytes(160), (host, int(port)))   # a payload type nobody agreed on
            rtp.sendto(b"\xbf\x00" + head, (host, int(port)))                # contributing sources beyond its end
            rtp.sendto(secrets.token_bytes(3), (host, int(port)))

        with gateway.control() as control:
            def counted():
                send()   # a leg's socket keeps some eighty datagrams, no more: on a busy machine some are lost
                discards = control.discards()
                return discards.get("unknown_payload_type", 0) >= EACH and discards.get("truncated", 0) >= 2 * EACH

            wait_until(counted, lambda: f"the garbage to be counted: {control.discards()}", 10, 0.001)

    phone.hang_up()
    bye = wait_until(lambda: next_request(trunk, "BYE"), "BYE at the trunk", 5)
    trunk.send(raw_sip.answer_to(bye), gateway)
    phone.wait_for("ended")


def next_request(trunk, method):
    message = trunk.receive(1)
    return message if message and message.startswith(method) else None


def test_garbage_on_the_control_socket_is_answered_with_a_named_error(start_trunk, start_gateway):
    gateway = start_gateway(start_trunk())

    with gateway.control() as control:
        assert control.request("make_tea")["error"]["code"] == "unknown_command"
        assert control.request("query_call", call="nobody")["error"]["code"] == "unknown_call"
        assert control.request("query_call", call=7)["error"]["code"] == "bad_arguments"
        assert control.request("delete_call", call="nobody")["error"]["code"] == "not_controller"
    for line in (b"nonsense\n", b"A" * 200_000 + b"\n", b"[]\n"):
        with gateway.control() as control:
            try:
                control.socket.sendall(line)
                reply = control.lines.readline()
            except (BrokenPipeError, ConnectionResetError):
                continue  # it said why and closed before we had read it
            assert b'"error"' in reply
    with gateway.control() as control:
        assert control.calls() == []
