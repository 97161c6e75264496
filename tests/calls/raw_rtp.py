"""A telephone by hand: plain RTP with PCMU, which says one sound over and over and keeps what it hears."""

import itertools
import socket
import struct
import threading
import time

import audio
from ports import ADDRESS, free_port

PACKET_S = 0.020
PACKET_SAMPLES = 160
EVENT_PAYLOAD_TYPE = 101
# RFC 4733 §3.2: events 0 to 15 in this order.
EVENTS = "0123456789*#ABCD"


class RawRtp:
    """Hears from its making on; speaks once it knows to whom, from where it hears or from elsewhere."""

    def __init__(self, codes, speaks_at=None):
        """`codes`: a sound as µ-law. `speaks_at`: an IP address of this host to send from, by another
        port; what comes back there is kept apart."""
        self.codes = codes
        self.socket = bound(ADDRESS)
        self.port = self.socket.getsockname()[1]
        self.payloads = []
        self.payloads_elsewhere = []
        self.events = []
        self.ended = threading.Event()
        self.threads = []
        self.sockets = [self.socket]
        self._run(lambda: self._listen(self.socket, self.payloads))
        if speaks_at:
            self.sockets.append(bound(speaks_at))
            self._run(lambda: self._listen(self.sockets[-1], self.payloads_elsewhere))

    @property
    def address(self):
        return f"{ADDRESS}:{self.port}"

    @property
    def speaks_from(self):
        return "%s:%d" % self.sockets[-1].getsockname()

    def speak_to(self, address):
        host, port = address.rsplit(":", 1)
        self._run(lambda: self._speak((host, int(port))))

    def heard(self):
        """The audio in the order of its coming: samples and rate."""
        return audio.from_g711(b"".join(self.payloads)), audio.NARROWBAND_HZ

    def heard_elsewhere(self):
        """The same of what came to where it speaks from."""
        return audio.from_g711(b"".join(self.payloads_elsewhere)), audio.NARROWBAND_HZ

    def digits(self):
        """The keys that were pressed: each event once, by its timestamp."""
        presses = {timestamp: event for timestamp, event in self.events}
        return "".join(EVENTS[event] for event in presses.values())

    def _run(self, work):
        thread = threading.Thread(target=work, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _listen(self, at, payloads):
        while not self.ended.is_set():
            try:
                packet = at.recv(2048)
            except TimeoutError:
                continue
            timestamp, payload = struct.unpack("!I", packet[4:8])[0], packet[12:]
            if packet[1] & 127 == EVENT_PAYLOAD_TYPE:
                self.events.append((timestamp, payload[0]))
            else:
                assert packet[1] & 127 == 0, f"payload type {packet[1] & 127}"
                payloads.append(payload)

    def _speak(self, remote):
        began = time.monotonic()
        for number in itertools.count():
            if self.ended.wait(max(0, began + number * PACKET_S - time.monotonic())):
                return
            start = number * PACKET_SAMPLES % (len(self.codes) - PACKET_SAMPLES)
            header = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * PACKET_SAMPLES & 0xFFFFFFFF, 7)
            self.sockets[-1].sendto(header + self.codes[start : start + PACKET_SAMPLES], remote)

    def close(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(5)
        for each in self.sockets:
            each.close()


def bound(address):
    """A UDP socket at one of the suite's ports of this address."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, free_port()))
    made.settimeout(0.1)
    return made
