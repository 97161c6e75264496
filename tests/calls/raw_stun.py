"""STUN by hand (RFC 8489): checks that no browser would send."""

import hashlib
import hmac
import struct
import zlib


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun_request(username, password=b"wrong", transaction=b"twelve bytes", more=b""):
    """A binding request with an integrity and fingerprint of its own making."""
    return stun_message(0x0001, attribute(0x0006, username) + more, password, transaction)


def stun_message(kind, body, password, transaction):
    """Any message with MESSAGE-INTEGRITY and FINGERPRINT."""
    head = struct.pack("!HHI", kind, len(body) + 24, 0x2112A442) + transaction
    code = hmac.new(password, head + body, hashlib.sha1).digest()
    return with_fingerprint(head + body + attribute(0x0008, code))


def with_fingerprint(message):
    """Puts its checksum behind a message, and the right length into it."""
    head = message[:2] + struct.pack("!H", len(message) - 20 + 8) + message[4:20]
    check = zlib.crc32(head + message[20:]) ^ 0x5354554E
    return head + message[20:] + attribute(0x8028, struct.pack("!I", check))
