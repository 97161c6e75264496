"""SIP over UDP by hand: for what no well-behaved endpoint would send, and to read exact answers."""

import secrets
import socket

from ports import ADDRESS, free_port

OFFER = """\
v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {port} RTP/AVP {payload_types}
{attributes}"""


class RawSip:
    """A UDP socket that a gateway can have as its trunk."""

    def __init__(self):
        self.port = free_port()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, self.port))

    @property
    def address(self):
        return f"{ADDRESS}:{self.port}"

    def send(self, message, gateway):
        payload = message if isinstance(message, bytes) else message.encode()
        self.socket.sendto(payload, (ADDRESS, gateway.sip_port))

    def receive(self, timeout_s=2):
        """The next message as text, or None when none comes."""
        self.socket.settimeout(timeout_s)
        try:
            return self.socket.recv(65535).decode(errors="replace")
        except TimeoutError:
            return None

    def invite(self, number, body="", **headers):
        """The text of an INVITE; a header given as None is left out."""
        lines = {
            "Via": f"SIP/2.0/UDP {self.address};branch=z9hG4bK{secrets.token_hex(8)};rport",
            "Max-Forwards": "70",
            "From": f"<sip:+15550100@{self.address}>;tag={secrets.token_hex(4)}",
            "To": f"<sip:{number}@{ADDRESS}>",
            "Call-ID": f"{secrets.token_hex(8)}@{ADDRESS}",
            "CSeq": "1 INVITE",
            "Contact": f"<sip:+15550100@{self.address}>",
            "Content-Type": "application/sdp" if body else None,
            "Content-Length": str(len(body.encode())),
        }
        lines.update({name.replace("_", "-"): value for name, value in headers.items()})
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        return f"INVITE sip:{number}@{ADDRESS} SIP/2.0\r\n{text}\r\n{body}"

    def final_response(self, message, gateway, timeout_s=5):
        """Sends a request and returns its final response; an INVITE's is acknowledged."""
        self.send(message, gateway)
        return self._response(message, 200, gateway, timeout_s)

    def try_to_ring(self, invite, gateway, timeout_s=5):
        """Sends an INVITE and returns the first response but 100."""
        self.send(invite, gateway)
        return self._response(invite, 101, gateway, timeout_s)

    def give_up(self, invite, gateway, timeout_s=5):
        """Cancels an INVITE that rings, and sees it end."""
        dropped = ("Contact:", "Content-Type:", "Content-Length:")
        lines = [line for line in invite.split("\r\n\r\n")[0].split("\r\n") if not line.startswith(dropped)]
        cancel = "\r\n".join([*lines, "Content-Length: 0", "", ""]).replace("INVITE", "CANCEL")
        self.send(cancel, gateway)
        return self._response(invite, 200, gateway, timeout_s)

    def _response(self, request, least_status, gateway, timeout_s):
        """The first response to this request with at least this status; what comes for other
        requests is passed over. A final one to an INVITE is acknowledged."""
        def lines(message):
            return {line for line in message.split("\r\n") if line.startswith(("Call-ID:", "CSeq:"))}

        for _ in range(200):
            response = self.receive(timeout_s)
            assert response is not None, f"no response from {least_status} on in {timeout_s} s to:\n{request}"
            if lines(request) - lines(response) or status(response) < least_status:
                continue
            if request.startswith("INVITE") and status(response) >= 200:
                self.send(self._acknowledge(request, response), gateway)
            return response
        raise AssertionError(f"no response from {least_status} on to:\n{request}")

    def _acknowledge(self, invite, response):
        """For an INVITE that lacks a header, the ACK lacks it too."""
        names = ("Via:", "Max-Forwards:", "From:", "Call-ID:")
        kept = [line for line in invite.split("\r\n") if line.startswith(names)]
        to = [line for line in response.split("\r\n") if line.startswith("To:")]
        target = invite.split(" ")[1]
        return "\r\n".join(
            [f"ACK {target} SIP/2.0", *kept, *to, "CSeq: 1 ACK", "Content-Length: 0", "", ""])

    def close(self):
        self.socket.close()


def offer(payload_types="0 8", attributes="", port=40000):
    """An SDP offer with one audio line."""
    return OFFER.format(port=port, payload_types=payload_types, attributes=attributes).replace("\n", "\r\n")


def status(response):
    return int(response.split(" ")[1])


def answer_to(request):
    """A 200 for a request within a dialog."""
    wanted = ("via:", "from:", "to:", "call-id:", "cseq:")
    kept = [line for line in request.split("\r\n") if line.lower().startswith(wanted)]
    return "\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""])
