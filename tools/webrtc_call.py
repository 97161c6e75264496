#!/usr/bin/env python3
"""Joins browsers to a telephone: a control plane of linecard's media process.

usage: webrtc_call.py --control SOCKET --rtp IP:PORT [--http IP:PORT]

    tools/python-packages
    .venv/bin/python tools/webrtc_call.py --control /run/linecard/media.sock --rtp 192.0.2.5:4000

Open the address that it prints and press Call: the microphone is heard at --rtp as RTP/PCMU, and what
comes from there is heard in the page. Where the telephone has to send to is printed with each call.

    POST of an offer ─► create_call ─► answer ─► ICE: address ─► DTLS: keys ─► talking ─► delete_call

Media carries the audio. What it does not answer itself, STUN until an address is nominated and all of
DTLS, comes here as `datagram` events and goes back by `send_datagram`. What is to be known of WebRTC is in
webrtc_peer.py, every message of the control socket in src/control/README.md.

It takes a media process (`linecard media --config FILE`) that nobody else controls: signaling would.
SIGINT and SIGTERM end the calls. After a `kill -9` they talk on until the next run, which ends them.
"""
import argparse
import asyncio
import base64
import contextlib
import functools
import http.server
import itertools
import json
import secrets
import signal
import sys
import threading
from pathlib import Path

from webrtc_peer import Certificate, Check, Dtls, Ended, Offer, Refused, split_address

CALLS_MAX = 32  # an example for some people, not an exchange
SETUP_S_MAX = 15  # from our answer to the keys; ICE and DTLS take less than a second
VALIDATED_MAX = 16  # addresses a call: a browser checks from each of its interfaces and TURN servers
OFFER_BYTES_MAX = 64 * 1024  # an offer has 2 to 10 kB
HTTP_S_MAX = 5
BLOB = "webrtc_call.py"  # tells our calls from those of other control planes
PCMU = {"codec": "pcmu", "payload_type": 0}
PHONE_EVENTS = {"payload_type": 101, "clock_hz": 8000}
PHONE_FORMAT = {"send": PCMU, "receive": [PCMU], "send_events": PHONE_EVENTS, "receive_events": [PHONE_EVENTS]}
PAGE = Path(__file__).with_suffix(".html")


def address(text):
    split_address(text)
    return text


def say(text):
    print(text, flush=True)


class Control:
    """The control socket: requests, which are carried out and answered in order, and events in between."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.numbers, self.unanswered = itertools.count(1), {}

    @classmethod
    async def connect(cls, path):
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=128 * 1024)
        except OSError as error:
            raise Refused(f"{path}: {error.strerror}; is the media process running, as this user?") from None
        greeting = json.loads(await reader.readline() or "{}")
        if greeting.get("product") != "linecard" or greeting.get("protocol") != 2:
            raise Refused(f"{path} speaks another protocol: {greeting}")
        return cls(reader, writer)

    def request(self, command, **arguments):
        """A future of the result, or of a `Refused`. The next request need not wait for it."""
        number = next(self.numbers)
        self.unanswered[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "command": command, "arguments": arguments})
        self.writer.write(line.encode() + b"\n")
        return self.unanswered[number]

    async def read(self, take_event):
        """Reads replies and events until the media process closes the connection, which it raises."""
        while line := await self.reader.readline():
            message = json.loads(line)
            if "event" in message:
                take_event(message)
            elif (reply := self.unanswered.pop(message["id"], None)) and not reply.done():
                if error := message.get("error"):
                    reply.set_exception(Refused(f"{error['code']}: {error['message']}"))
                else:
                    reply.set_result(message["result"])
        raise Refused("the media process has closed the control socket: when it runs again, start this again")


class Call:
    """A browser, which is leg a, and the telephone, which is leg b."""

    def __init__(self, plane, offer):
        self.plane, self.offer = plane, offer
        self.name = f"webrtc-{secrets.token_hex(4)}"
        self.ufrag, self.password = secrets.token_hex(4), secrets.token_hex(16)
        self.dtls = Dtls(plane.certificate, offer.fingerprints)
        self.validated, self.nominated, self.dtls_peer = [], None, None
        self.setup_timer = self.dtls_timer = self.deletion = None

    def say(self, text):
        say(f"{self.name}: {text}")

    async def create(self):
        """Makes the call in media; returns our answer to the offer."""
        ice = {"kind": "ice", "local_ufrag": self.ufrag, "local_password": self.password,
               "remote_ufrag": self.offer.ufrag}
        created = await self.plane.control.request(
            "create_call", call=self.name, blob=BLOB,
            a={"transport": ice, "security": {"kind": "pending"}, "format": self.offer.format()},
            b={"transport": {"kind": "plain", "remote": self.plane.phone}, "format": PHONE_FORMAT})
        self.thread = created["thread"]
        self.setup_timer = asyncio.get_running_loop().call_later(
            SETUP_S_MAX, self.end, f"ICE and DTLS were not done in {SETUP_S_MAX} s")
        self.say(f"{self.plane.phone} has to send its RTP to {created['b']['rtp']}")
        return self.offer.answer(created["a"]["rtp"], self.ufrag, self.password, self.plane.certificate.fingerprint)

    def update(self, **change):
        """Changes the browser's leg; a call with which media does not go along is over."""
        def done(reply):
            if not reply.cancelled() and reply.exception():
                self.end(f"{', '.join(change)}: {reply.exception()}")
        self.plane.control.request("update_leg", call=self.name, leg="a", **change).add_done_callback(done)
        if self.nominated and self.dtls.is_done:
            self.setup_timer.cancel()  # from here on media itself sees when the browser is gone

    def take_check(self, check, source):
        """Answers an authentic check, and follows the browser's nominations: the last one counts."""
        if check.theirs != self.offer.ufrag or not check.is_authentic(self.password):
            return  # not even an error: it may be forged, to make us send to somebody else
        if not check.is_understood():
            return
        self.plane.send(self.thread, source, check.success(source, self.password))
        self.validated = [source, *(known for known in self.validated if known != source)][:VALIDATED_MAX]
        if check.nominates() and source != self.nominated:
            self.nominated = source
            self.say(f"the browser is at {source}")
            self.update(remote=source)

    def take_dtls(self, datagram, source):
        self.dtls_peer = source
        self.advance_dtls(lambda: self.dtls.take(datagram))

    def advance_dtls(self, step):
        """Takes a step of the handshake and sends what that leads to, again and again until it is answered."""
        reason = None
        try:
            if security := step():
                self.update(security=security)
                self.say(f"secured with {security['profile']}")
        except Ended as end:
            reason = str(end)
        self.send_dtls()
        if self.dtls_timer:
            self.dtls_timer.cancel()
        if reason:
            self.end(reason)
        elif (timeout_s := self.dtls.timeout_s()) is not None:
            self.dtls_timer = asyncio.get_running_loop().call_later(timeout_s, self.advance_dtls, self.dtls.repeat)

    def send_dtls(self):
        for datagram in self.dtls.datagrams():
            self.plane.send(self.thread, self.dtls_peer, datagram)

    def take_event(self, event):
        whose = {"a": "the browser", "b": "the telephone"}.get(event.get("leg"))
        match event["event"]:
            case "media_started":
                self.say(f"{whose} is heard")
            case "telephone_event":
                self.say(f"{whose} pressed {event['digit']} for {event['duration_ms']} ms")
            case "consent_expired":
                self.end("the browser is gone: consent_expired")
            case _:
                pass  # a later media process may know more events

    def end(self, reason):
        """Says good-bye to the browser and deletes the call, once; the future is done when it is deleted."""
        if self.deletion:
            return self.deletion
        self.plane.calls.pop(self.ufrag, None)
        for timer in filter(None, (self.setup_timer, self.dtls_timer)):
            timer.cancel()
        if self.dtls_peer:
            self.dtls.say_good_bye()
            self.send_dtls()

        def done(reply):
            if reply.cancelled() or reply.exception():
                return self.say(f"not deleted: {reply}")
            browser, phone = (reply.result()[leg]["packets_received"] for leg in "ab")
            self.say(f"ended: {reason} ({browser} packets from the browser, {phone} from the telephone)")
        self.deletion = self.plane.control.request("delete_call", call=self.name)
        self.deletion.add_done_callback(done)
        return self.deletion


class ControlPlane:
    """All calls, by our ICE user fragment: it is what a browser's checks begin with."""

    def __init__(self, control, phone):
        self.control, self.phone = control, phone
        self.certificate, self.calls = Certificate(), {}

    async def take_control(self):
        """Becomes the controller, and ends what a killed run has left talking."""
        try:
            await self.control.request("take_control")
        except Refused as refusal:
            raise Refused(f"another program controls this media process, end it first ({refusal})") from None
        after, more = {}, True
        while more:
            page = await self.control.request("list_calls", **after)
            for left in page["calls"]:
                after = {"after": left["call"]}
                if left["blob"] == BLOB:
                    await self.control.request("delete_call", call=left["call"])
                    say(f"{left['call']}: ended: it was left by an earlier run")
            more = page["more"]

    async def make_call(self, sdp):
        """The call that an offer leads to, and the answer."""
        if len(self.calls) >= CALLS_MAX:
            raise Refused(f"there are {CALLS_MAX} calls already")
        call = Call(self, Offer(sdp))
        self.calls[call.ufrag] = call
        try:
            return call.name, await call.create()
        except BaseException:
            self.calls.pop(call.ufrag, None)
            raise

    async def end_call(self, name, reason):
        for call in [call for call in self.calls.values() if call.name == name]:
            await call.end(reason)

    async def end_all(self, reason):
        await asyncio.gather(*(call.end(reason) for call in list(self.calls.values())), return_exceptions=True)

    def send(self, thread, to, datagram):
        def done(reply):
            if not reply.cancelled() and reply.exception():
                say(f"not sent to {to}: {reply.exception()}")
        payload = base64.b64encode(datagram).decode()
        self.control.request("send_datagram", thread=thread, to=to, payload=payload).add_done_callback(done)

    def take_event(self, event):
        if event["event"] == "datagram":
            self.take_datagram(event["thread"], event["from"], base64.b64decode(event["payload"]))
        for call in [call for call in self.calls.values() if call.name == event.get("call")]:
            call.take_event(event)

    def take_datagram(self, thread, source, datagram):
        """STUN names its call; DTLS is taken from addresses only that have passed a check of a call."""
        if datagram[0] < 4:  # RFC 7983 §7
            try:
                check = Check(datagram)
            except ValueError:
                return
            if call := self.calls.get(check.ours):
                call.take_check(check, source)
            return
        for call in [call for call in self.calls.values() if call.thread == thread and source in call.validated]:
            call.take_dtls(datagram, source)


class Web(http.server.BaseHTTPRequestHandler):
    """The page, and calls after the manner of WHIP (RFC 9725): POST of an offer makes one, DELETE ends it."""

    timeout = HTTP_S_MAX

    def __init__(self, plane, loop, *arguments):
        self.plane, self.loop = plane, loop
        super().__init__(*arguments)

    def do_GET(self):
        if self.path != "/":
            return self.send_error(404)
        self.reply(200, PAGE.read_text(), "text/html; charset=utf-8")

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        # Another site's page may not send this type unasked, so it cannot make calls.
        if self.path != "/calls" or self.headers.get_content_type() != "application/sdp":
            return self.send_error(415, "POST an offer as application/sdp to /calls")
        if not length.isdecimal() or int(length) > OFFER_BYTES_MAX:
            return self.send_error(413)
        try:
            offer = self.rfile.read(int(length)).decode()
            name, answer = self.wait_for(self.plane.make_call(offer))
        except (Refused, UnicodeDecodeError) as refusal:
            say(f"an offer is refused: {refusal}")
            return self.reply(400, str(refusal), "text/plain; charset=utf-8")
        self.reply(201, answer, "application/sdp", Location=f"/calls/{name}")

    def do_DELETE(self):
        with contextlib.suppress(Refused):  # it may have ended by itself meanwhile
            self.wait_for(self.plane.end_call(self.path.removeprefix("/calls/"), "the browser hung up"))
        self.reply(200, "", "text/plain")

    def wait_for(self, coroutine):
        """The calls live in the event loop's thread, each request in one of its own."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(HTTP_S_MAX)
        except TimeoutError:
            raise Refused("media does not answer") from None

    def reply(self, status, body, content_type, **headers):
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


async def first(reading, coroutine):
    """Waits for something unless reading ends before: that always ends in an exception."""
    waiting = asyncio.ensure_future(coroutine)
    await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    return (reading if reading.done() else waiting).result()


async def serve(arguments):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    control = await Control.connect(arguments.control)
    plane = ControlPlane(control, arguments.rtp)
    reading = asyncio.create_task(control.read(plane.take_event))
    await first(reading, plane.take_control())
    host, port = split_address(arguments.http)
    web = http.server.ThreadingHTTPServer((str(host), port), functools.partial(Web, plane, loop))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    say(f"open http://{host}:{web.server_port}/ in a browser")
    await first(reading, stop.wait())
    web.shutdown()
    await first(reading, plane.end_all("told to stop"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--control", required=True, metavar="SOCKET", help="[media].control of the configuration")
    parser.add_argument("--rtp", required=True, type=address, metavar="IP:PORT",
                        help="the telephone: where RTP/PCMU goes to and comes from")
    parser.add_argument("--http", default="127.0.0.1:8080", type=address, metavar="IP:PORT",
                        help="where the page is served (%(default)s); browsers give microphones to https and loopback only")
    try:
        asyncio.run(serve(parser.parse_args()))
    except (Refused, OSError) as fault:
        sys.exit(f"webrtc_call.py: {fault}")


if __name__ == "__main__":
    main()
