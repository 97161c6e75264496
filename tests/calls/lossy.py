"""A bad network between one browser and the gateway: a UDP relay that loses RTP packets.

The browser is told its port instead of the gateway's. STUN, DTLS and RTCP always pass, so that what
is lost is only what a call is to repair.
"""

import random
import select
import socket
import threading
from collections import Counter

from ports import ADDRESS, free_port


class LossyPath:
    """`to_gateway` and `to_browser`: the share of RTP packets lost each way, 0..1; at random, the
    same ones each time for the same shares."""

    def __init__(self, gateway_port, to_gateway=0.0, to_browser=0.0, seed=1):
        self.gateway_port = gateway_port
        self.shares = {"gateway": to_gateway, "browser": to_browser}
        self.random = {way: random.Random(f"{seed} {way}") for way in self.shares}
        self.lost = {way: 0 for way in self.shares}
        self.passed = {way: 0 for way in self.shares}
        self.payload_types = {way: Counter() for way in self.shares}
        self.port = free_port()
        self.browser_side = self._socket(self.port)
        self.gateway_side = self._socket(0)
        self.browser = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._relay, daemon=True)
        self.thread.start()

    @property
    def detour(self):
        """What the page changes in the gateway's SDP."""
        return {"from": self.gateway_port, "to": self.port}

    def _socket(self, port):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((ADDRESS, port))
        return opened

    def _relay(self):
        while not self.ended.is_set():
            for ready in select.select([self.browser_side, self.gateway_side], [], [], 0.1)[0]:
                datagram, source = ready.recvfrom(2048)
                if ready is self.browser_side:
                    self.browser = source
                    if self._passes("gateway", datagram):
                        self.gateway_side.sendto(datagram, (ADDRESS, self.gateway_port))
                elif self.browser and self._passes("browser", datagram):
                    self.browser_side.sendto(datagram, self.browser)

    def _passes(self, way, datagram):
        # RTP shares its first byte with RTCP, whose packet types are 192-223 (RFC 5761, RFC 7983).
        if not 128 <= datagram[0] <= 191 or 192 <= datagram[1] <= 223:
            return True
        self.payload_types[way][datagram[1] & 127] += 1
        lost = self.random[way].random() < self.shares[way]
        (self.lost if lost else self.passed)[way] += 1
        return not lost

    def close(self):
        self.ended.set()
        self.thread.join()
        self.browser_side.close()
        self.gateway_side.close()
