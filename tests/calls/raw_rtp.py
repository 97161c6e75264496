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
    """Hears from its making on; speaks once it knows to whom."""

    def __init__(self, codes):
        """`codes`: a sound as µ-law."""
        self.codes = codes
        self.port = free_port()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, self.port))
        self.socket.settimeout(0.1)
        self.payloads = []
        self.events = []
        self.ended = threading.Event()
        self.threads = []
        self._run(self._listen)

    @property
    def address(self):
        return f"{ADDRESS}:{self.port}"

    def speak_to(self, address):
        host, port = address.rsplit(":", 1)
        self._run(lambda: self._speak((host, int(port))))

    def heard(self):
        """The audio in the order of its coming: samples and rate."""
        return audio.from_g711(b"".join(self.payloads)), audio.NARROWBAND_HZ

    def digits(self):
        """The keys that were pressed: each event once, by its timestamp."""
        presses = {timestamp: event for timestamp, event in self.events}
        return "".join(EVENTS[event] for event in presses.values())

    def _run(self, work):
        thread = threading.Thread(target=work, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _listen(self):
        while not self.ended.is_set():
            try:
                packet = self.socket.recv(2048)
            except TimeoutError:
                continue
            timestamp, payload = struct.unpack("!I", packet[4:8])[0], packet[12:]
            if packet[1] & 127 == EVENT_PAYLOAD_TYPE:
                self.events.append((timestamp, payload[0]))
            else:
                assert packet[1] & 127 == 0, f"payload type {packet[1] & 127}"
                self.payloads.append(payload)

    def _speak(self, remote):
        began = time.monotonic()
        for number in itertools.count():
            if self.ended.wait(max(0, began + number * PACKET_S - time.monotonic())):
                return
            start = number * PACKET_SAMPLES % (len(self.codes) - PACKET_SAMPLES)
            header = struct.pack("!BBHII", 0x80, 0, number & 0xFFFF, number * PACKET_SAMPLES & 0xFFFFFFFF, 7)
            self.socket.sendto(header + self.codes[start : start + PACKET_SAMPLES], remote)

    def close(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(5)
        self.socket.close()
