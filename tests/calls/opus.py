"""What is inside the Opus and RED payloads that a browser's encoder gives (RFC 6716 §3.1, RFC 2198)."""

from collections import Counter
from dataclasses import dataclass

# By the upper five bits of the TOC byte: mode and audio bandwidth, and the frame's length.
MODES = (
    [f"SILK {band}" for band in ("narrow", "medium", "wide") for _ in range(4)]
    + [f"hybrid {band}" for band in ("superwide", "full") for _ in range(2)]
    + [f"CELT {band}" for band in ("narrow", "wide", "superwide", "full") for _ in range(4)]
)
LENGTHS_MS = [10, 20, 40, 60] * 3 + [10, 20] * 2 + [2.5, 5, 10, 20] * 4
# What DTX leaves of a packet (RFC 6716 §2.1.9).
DTX_BYTES_MAX = 2


@dataclass
class Packet:
    mode: str
    frame_ms: float
    stereo: bool
    # In-band FEC: the SILK layer carries the packet before in a lower quality (LBRR).
    fec: bool
    dtx: bool
    bytes: int


def packet(head, size):
    """One Opus payload by its first two bytes."""
    toc = head[0]
    mode, dtx = MODES[toc >> 3], size <= DTX_BYTES_MAX
    # The range coder's first bits are those of its first symbols, which are even chances: voice
    # activity of each 20 ms, then LBRR (RFC 6716 §4.2.3).
    frame_ms = LENGTHS_MS[toc >> 3]
    flag = max(1, int(frame_ms // 20))
    fec = not mode.startswith("CELT") and not dtx and len(head) > 1 and bool(head[1] >> (7 - flag) & 1)
    return Packet(mode, frame_ms, bool(toc & 4), fec, dtx, size)


def copies(head):
    """The redundant blocks of a RED payload: timestamp offset and bytes of each."""
    blocks = []
    while head[4 * len(blocks)] & 0x80:
        first, second, third, fourth = head[4 * len(blocks) : 4 * len(blocks) + 4]
        blocks.append((second << 6 | third >> 2, (third & 3) << 8 | fourth))
    return blocks


def summary(frames):
    """One line about plain Opus frames, as the pages note them."""
    packets = [packet(frame["head"], frame["bytes"]) for frame in frames]
    spoken = [one for one in packets if not one.dtx]
    modes = Counter(f"{one.mode} {one.frame_ms} ms{' stereo' * one.stereo}" for one in spoken)
    seconds = sum(one.frame_ms for one in packets) / 1000
    rate = sum(one.bytes for one in packets) * 8 / seconds / 1000
    gaps = Counter(b["timestamp"] - a["timestamp"] for a, b in zip(frames, frames[1:]))
    return (
        f"{len(packets)} packets, {dict(modes)}, {rate:.1f} kb/s, "
        f"FEC in {sum(one.fec for one in spoken)}, DTX {len(packets) - len(spoken)}, "
        f"timestamp steps {dict(gaps.most_common(3))}, payload types {dict(Counter(f['payload_type'] for f in frames))}"
    )
