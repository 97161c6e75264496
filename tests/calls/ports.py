"""Loopback ports for one test run, none of them used by anybody else right now."""

import itertools
import os
import socket
from pathlib import Path

ADDRESS = "127.0.0.1"
# Below the range that Linux hands out by itself (32768), so that nobody takes one of ours meanwhile.
_blocks = itertools.count(20000 + os.getpid() % 40 * 200, 20)


def free_port():
    """A port that is free for UDP and TCP."""
    return free_block(1)


def free_block(count):
    """The first of `count` consecutive free ports; it is even, as RTP wants (RFC 3550 §11)."""
    for _ in range(400):
        first = next(_blocks) % 10000 + 20000
        if all(_is_free(first + offset) for offset in range(count)):
            for _ in range(count // 20):
                next(_blocks)
            return first
    raise RuntimeError("no free ports between 20000 and 30000")


def _is_free(port):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((ADDRESS, port))
            except OSError:
                return False
    return True


def udp_is_bound(port):
    """Whether somebody has this UDP port: asked of the kernel, for trying it would take it."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)
