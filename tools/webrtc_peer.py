"""What a server has to know of WebRTC to talk with a browser: SDP, ICE (the lite end), DTLS with SRTP keys.

In the order of a call: `Offer` reads the browser's SDP and writes ours, `Check` reads and answers one STUN
request, `Dtls` is the server's end of one handshake. Datagrams in, datagrams and keys out: there are no
sockets and no clocks here. tools/webrtc_call.py has those, and linecard's media process has the audio.
"""
import base64
import contextlib
import datetime
import hashlib
import hmac
import ipaddress
import re
import secrets
import struct
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

DTLS_BYTES_MAX = 1200  # a datagram that every network carries whole
HASHES = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
# OpenSSL's name: the control protocol's, bytes of master key, of master salt (RFC 5764 §4.1.2, RFC 7714 §14.2).
PROFILES = {
    "SRTP_AEAD_AES_128_GCM": ("AEAD_AES_128_GCM", 16, 12),
    "SRTP_AEAD_AES_256_GCM": ("AEAD_AES_256_GCM", 32, 12),
    "SRTP_AES128_CM_SHA1_80": ("AES_CM_128_HMAC_SHA1_80", 16, 14),
}
STUN_COOKIE, BINDING_REQUEST, BINDING_SUCCESS = 0x2112A442, 0x0001, 0x0101
USERNAME, INTEGRITY, XOR_MAPPED_ADDRESS, PRIORITY, USE_CANDIDATE = 0x06, 0x08, 0x20, 0x24, 0x25
FINGERPRINT, ICE_CONTROLLED = 0x8028, 0x8029


class Refused(Exception):
    """No call can come of this; the text says why."""


class Ended(Exception):
    """DTLS is over; the text says why."""


def split_address(text):
    """`IP:PORT` or `[IP]:PORT`."""
    host, _, port = text.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")), int(port)


class Offer:
    """What matters of a browser's offer (RFC 8866, RFC 8829)."""

    def __init__(self, sdp):
        session, *self.media = re.split(r"(?m)^(?=m=)", sdp.replace("\r\n", "\n"))
        is_audio = re.compile("m=audio [1-9][0-9]* UDP/TLS/RTP/SAVPF ").match
        self.audio = self._first(filter(is_audio, self.media), "no audio over UDP/TLS/RTP/SAVPF")

        def values(name, pattern=".*"):
            """Of an attribute of the audio, else of the session."""
            found = re.compile(f"^a={name}:({pattern})$", re.MULTILINE | re.IGNORECASE).findall
            return found(self.audio) or found(session)

        self.ufrag = self._first(values("ice-ufrag"), "no a=ice-ufrag")
        self.fingerprints = [value.lower() for value in values("fingerprint", f"(?:{'|'.join(HASHES)}) [0-9a-f:]+")]
        self._first(self.fingerprints, f"no a=fingerprint with one of {', '.join(HASHES)}")
        self._first(values("setup", "actpass|active"), "no a=setup:actpass or active, and DTLS needs a client")
        self._first(re.findall("(?m)^a=rtcp-mux$", self.audio), "no a=rtcp-mux")
        if fault := re.search("(?m)^a=(ice-lite|sendonly|recvonly|inactive)$", session + self.audio):
            raise Refused(f"the offer is of no use: {fault[1]}")  # no checks, or no conversation

        self.mid = self._first(values("mid"), "no a=mid")
        self.bundled = self.mid in " ".join(re.findall("(?m)^a=group:BUNDLE (.*)$", session)).split()
        self.opus = int(self._first(values("rtpmap", "[0-9]+ opus/48000/2"), "no Opus").split()[0])
        self.in_band_fec = any("useinbandfec=1" in value for value in values("fmtp", f"{self.opus} .*"))
        events = [re.split("[ /]", value) for value in values("rtpmap", "[0-9]+ telephone-event/(?:8000|48000)")]
        # By Opus's own clock if the browser can: Firefox has 8 kHz alone.
        self.events = [{"payload_type": int(number), "clock_hz": int(clock_hz)} for number, _, clock_hz in events]
        self.events.sort(key=lambda event: -event["clock_hz"])

    def _first(self, found, lack):
        for value in found:
            return value
        raise Refused(f"the offer is of no use: {lack}")

    def format(self):
        """The leg's format, in the words of the control protocol."""
        opus = {"codec": "opus", "payload_type": self.opus}
        events = {"send_events": self.events[0], "receive_events": self.events} if self.events else {}
        return {"send": {**opus, "in_band_fec": self.in_band_fec}, "receive": [opus], **events}

    def answer(self, address, ufrag, password, fingerprint):
        """Our SDP: every line of the offer in its order, the audio accepted, all others refused with port 0."""
        host, port = split_address(address)
        connection = f"IN IP{host.version} {host}"
        numbers = " ".join(str(number) for number in [self.opus, *(event["payload_type"] for event in self.events)])
        lines = ["v=0", f"o=- {secrets.randbits(62)} 1 {connection}", "s=-", "t=0 0", "a=ice-lite"]
        lines += [f"a=group:BUNDLE {self.mid}"] if self.bundled else []
        for media in self.media:
            if media is not self.audio:
                refused = re.sub("^(m=[^ ]+) [^ ]+", r"\1 0", media.split("\n")[0])
                lines += [refused, f"c={connection}", *re.findall("(?m)^a=mid:.*$", media)]
                continue
            lines += [
                f"m=audio {port} UDP/TLS/RTP/SAVPF {numbers}", f"c={connection}", f"a=mid:{self.mid}", "a=sendrecv",
                "a=rtcp-mux", f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}",
                f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates",
                f"a=fingerprint:{fingerprint}", "a=setup:passive", f"a=rtpmap:{self.opus} opus/48000/2",
                f"a=fmtp:{self.opus} maxplaybackrate=8000;stereo=0;useinbandfec=1",  # a telephone's band is all we use
                *(f"a=rtpmap:{event['payload_type']} telephone-event/{event['clock_hz']}" for event in self.events),
            ]
        return "\r\n".join(lines) + "\r\n"


def stun_header(kind, length, transaction):
    return struct.pack("!HHI", kind, length, STUN_COOKIE) + transaction


def stun_attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun_integrity(header, attributes, password):
    """Of what comes before it; the header's length reaches to the integrity's own end (RFC 8489 §14.5)."""
    return hmac.digest(password.encode(), header + attributes, "sha1")


def stun_fingerprint(before):
    return struct.pack("!I", zlib.crc32(before) ^ 0x5354554E)


class Check:
    """A connectivity check (RFC 8445 §7): a whole STUN Binding request. ValueError for anything else."""

    def __init__(self, datagram):
        self.datagram, self.transaction, self.attributes = datagram, datagram[8:20], {}
        if len(datagram) < 20 or datagram[:8] != stun_header(BINDING_REQUEST, len(datagram) - 20, b""):
            raise ValueError("no Binding request")
        start = end = 20
        while end < len(datagram):
            start = end
            kind, size = struct.unpack("!HH", datagram[start : start + 4].ljust(4, b"\xff"))
            if INTEGRITY not in self.attributes or kind == FINGERPRINT:  # what else follows it is not protected
                self.attributes.setdefault(kind, datagram[start + 4 : start + 4 + size])
                if kind == INTEGRITY:
                    self.protected = datagram[20:start]
            end = start + 4 + size + -size % 4
        if end != len(datagram) or self.attributes.get(FINGERPRINT) != stun_fingerprint(datagram[:start]):
            raise ValueError("a wrong length or FINGERPRINT")
        # USERNAME is who is asked and who asks: our fragment, the browser's.
        self.ours, _, self.theirs = self.attributes.get(USERNAME, b"").decode().partition(":")

    def is_authentic(self, password):
        if INTEGRITY not in self.attributes:
            return False
        header = stun_header(BINDING_REQUEST, len(self.protected) + 24, self.transaction)
        expected = stun_integrity(header, self.protected, password)
        return hmac.compare_digest(expected, self.attributes[INTEGRITY])

    def is_understood(self):
        """Attributes below 0x8000 have to be known, and one end has to control: a lite one cannot."""
        known = {USERNAME, INTEGRITY, PRIORITY, USE_CANDIDATE}
        return ICE_CONTROLLED not in self.attributes and all(k in known for k in self.attributes if k < 0x8000)

    def nominates(self):
        return USE_CANDIDATE in self.attributes

    def success(self, source, password):
        """The response, which tells the browser where its check came from."""
        host, port = split_address(source)
        mask = struct.pack("!I", STUN_COOKIE) + self.transaction
        masked = bytes(a ^ b for a, b in zip(host.packed, mask))
        mapped = struct.pack("!HH", 1 if host.version == 4 else 2, port ^ STUN_COOKIE >> 16) + masked
        attributes = stun_attribute(XOR_MAPPED_ADDRESS, mapped)
        header = stun_header(BINDING_SUCCESS, len(attributes) + 24, self.transaction)
        attributes += stun_attribute(INTEGRITY, stun_integrity(header, attributes, password))
        header = stun_header(BINDING_SUCCESS, len(attributes) + 8, self.transaction)
        return header + attributes + stun_attribute(FINGERPRINT, stun_fingerprint(header + attributes))


class Certificate:
    """Self-signed, of this run; nothing vouches for it but its fingerprint in our SDP (RFC 8827 §6.5)."""

    def __init__(self):
        self.key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
        now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
        self.certificate = x509.CertificateBuilder(
            name, name, self.key.public_key(), x509.random_serial_number(), now - day, now + 365 * day,
        ).sign(self.key, hashes.SHA256())
        self.fingerprint = fingerprint_of(self.certificate, "sha-256")

    def context(self):
        """What handshakes with it have in common: their server asks for a certificate and for SRTP."""
        context = SSL.Context(SSL.DTLS_SERVER_METHOD)
        context.use_privatekey(self.key)
        context.use_certificate(self.certificate)
        context.set_tlsext_use_srtp(":".join(PROFILES).encode())
        context.set_options(SSL.OP_NO_QUERY_MTU)  # there is no socket to ask

        def verify(connection, presented, _error, depth, _valid):
            return depth > 0 or connection.get_app_data().expects(presented.to_cryptography())
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return context


def fingerprint_of(certificate, hash_name):
    """As SDP writes it (RFC 8122 §5), in lower case."""
    content = certificate.public_bytes(serialization.Encoding.DER)
    return f"{hash_name} {HASHES[hash_name](content).digest().hex(':')}"


def reasons(error):
    """OpenSSL's own words."""
    queue = error.args[0] if error.args else []
    return "; ".join(entry[-1] for entry in queue) if isinstance(queue, list) else str(error)


class Dtls:
    """The server's end of one browser's DTLS: a handshake, then nothing until the good-bye.

    After each call there may be `datagrams` to send, and another `timeout_s`."""

    def __init__(self, certificate, fingerprints):
        self.fingerprints, self.fault, self.is_done = fingerprints, None, False
        self.connection = SSL.Connection(certificate.context())
        self.connection.set_app_data(self)
        self.connection.set_ciphertext_mtu(DTLS_BYTES_MAX)
        self.connection.set_accept_state()

    def expects(self, certificate):
        """Whether the certificate is the one of the offer."""
        if all(fingerprint_of(certificate, named.split()[0]) != named for named in self.fingerprints):
            self.fault = "the browser's certificate is not the one whose fingerprint its SDP has"
        return self.fault is None

    def take(self, datagram):
        """The leg's `security` if this datagram ends the handshake."""
        self.connection.bio_write(datagram)
        try:
            if self.is_done:
                self.connection.recv(DTLS_BYTES_MAX)  # a repetition, which is answered in there, or the end
                return None
            self.connection.do_handshake()
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            raise Ended("the browser said good-bye") from None
        except SSL.Error as error:
            raise Ended(self.fault or f"DTLS failed: {reasons(error)}") from None
        self.is_done = True
        return self._security()

    def _security(self):
        """Both keys, then both salts, the client's before the server's (RFC 5764 §4.2)."""
        agreed = self.connection.get_selected_srtp_profile().decode()
        if agreed not in PROFILES:
            raise Ended("DTLS without an SRTP profile that both ends know")
        profile, key, salt = PROFILES[agreed]
        exported = self.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        client_key, server_key, client_salt, server_salt = struct.unpack(f"{key}s{key}s{salt}s{salt}s", exported)
        return {"kind": "srtp", "profile": profile,
                "send": base64.b64encode(server_key + server_salt).decode(),
                "receive": base64.b64encode(client_key + client_salt).decode()}

    def timeout_s(self):
        """When `repeat` is due, or None."""
        return self.connection.DTLSv1_get_timeout()

    def repeat(self):
        """Sends the last flight once more: its answer is overdue (RFC 6347 §4.2.4)."""
        try:
            self.connection.DTLSv1_handle_timeout()
        except SSL.Error:
            raise Ended("the browser's DTLS does not answer") from None

    def say_good_bye(self):
        with contextlib.suppress(SSL.Error):
            self.connection.shutdown()

    def datagrams(self):
        """What is to be sent: records, each of which has its length in its header (RFC 6347 §4.1), packed."""
        packed, records = [b""], b""
        with contextlib.suppress(SSL.WantReadError):
            records = self.connection.bio_read(64 * 1024)
        while records:
            size = 13 + int.from_bytes(records[11:13], "big")
            if len(packed[-1]) + size > DTLS_BYTES_MAX:
                packed.append(b"")
            packed[-1] += records[:size]
            records = records[size:]
        return [datagram for datagram in packed if datagram]
