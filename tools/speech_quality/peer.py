"""Debian's rtpengine beside us: the same speech and the same losses through the real daemon."""

import base64
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Calls at once: a third of what one core of it carries.
CALLS_AT_ONCE = 10
# Each loss and voice is run so often at most: every run takes as long as it speaks.
REPEATS_MAX = 2
ANSWER_BYTES_MAX = 65_536
# The key that linecard-quality sends under.
KEY = base64.b64encode(bytes([7] * 30)).decode()
# Packets that leave later than this are no 20 ms stream any more.
LATE_MS_MAX = 60


def installed():
    return shutil.which("rtpengine") is not None


def run(options, segments, directory):
    """What the trunk heard by rtpengine, as (name, list of segment, loss, files)."""
    out = directory / "peer"
    out.mkdir(exist_ok=True)
    calls = []
    for number, segment in enumerate(segments):
        for loss in options.loss:
            repeats = 1 if loss in ("0", "burst0") else min(options.repeats, REPEATS_MAX)
            calls += [(segment, loss, number * 1000 + repeat) for repeat in range(repeats)]
    with Daemon() as daemon, ThreadPoolExecutor(CALLS_AT_ONCE) as at_once:
        made = list(at_once.map(lambda call: one_call(options, daemon, out, *call), calls))
        name = f"rtpengine {daemon.version}"
    late = sum(one["late_ms_max"] > LATE_MS_MAX for one in made)
    if late:
        print(f"\n{late} of {len(made)} calls through rtpengine were sent more than {LATE_MS_MAX} ms late at "
              "times: the machine is too busy for its figures to be believed", file=sys.stderr)
    return name, made


def one_call(options, daemon, out, segment, loss, seed):
    name = f"{segment.stem}-{loss}-{seed}"
    browser, trunk = free_port(), free_port()
    to = daemon.create_call(name, browser, trunk)
    words = ["live", "fec", "--segment", segment, "--loss", loss, "--seed", seed,
             "--browser", f"127.0.0.1:{browser}", "--to", f"127.0.0.1:{to}",
             "--trunk", f"127.0.0.1:{trunk}", "--out", out / name]
    done = subprocess.run([options.program, *map(str, words)], capture_output=True, text=True)
    daemon.delete_call(name)
    if done.returncode:
        sys.exit(f"\ntools/quality: rtpengine, {name}: {done.stderr.strip()}")
    return {"segment": str(segment), "loss": loss, **json.loads(done.stdout)}


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Daemon:
    """A running rtpengine, driven over its NG protocol: bencode over UDP."""

    def __enter__(self):
        self.address = ("127.0.0.1", free_port())
        said = subprocess.run(["rtpengine", "--version"], capture_output=True, text=True)
        self.version = (said.stdout + said.stderr).split("Version:")[-1].split()[0]
        self.process = subprocess.Popen(
            ["rtpengine", "--config-file=none", "--foreground", "--log-stderr", "--log-level=4", "--table=-1",
             "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{self.address[1]}",
             "--port-min=20000", "--port-max=29999"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(50):
            try:
                if self.request(command="ping")["result"] == "pong":
                    return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        sys.exit("\ntools/quality: rtpengine does not answer; leave it out with --no-peer")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def create_call(self, name, browser, trunk):
        """The port that the browser has to send to."""
        common = {"call-id": name, "from-tag": "browser", "replace": ["origin"]}
        self.request(
            command="offer", ICE="remove", DTLS="off", sdp=browser_sdp(browser),
            codec={"mask": ["opus"], "transcode": ["PCMU"]},
            **common, **{"rtcp-mux": ["demux"], "transport-protocol": "RTP/AVP"},
        )
        answer = self.request(command="answer", sdp=trunk_sdp(trunk), **common, **{"to-tag": "trunk"})
        line = next(line for line in answer["sdp"].splitlines() if line.startswith("m=audio "))
        return int(line.split()[1])

    def delete_call(self, name):
        self.request(command="delete", **{"call-id": name, "from-tag": "browser", "delete-delay": 0})

    def request(self, **words):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(1)
            one.connect(self.address)
            # It answers a cookie that it knows with the answer of before.
            one.send(secrets.token_hex(8).encode() + b" " + bencode(words))
            answer = bdecode(one.recv(ANSWER_BYTES_MAX).split(b" ", 1)[1])[0]
        if answer.get("result") == "error":
            sys.exit(f"\ntools/quality: rtpengine refused {words['command']}: {answer.get('error-reason')}")
        return answer


def session():
    return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"


def browser_sdp(port):
    return (
        f"{session()}m=audio {port} RTP/SAVP 111\r\na=rtpmap:111 opus/48000/2\r\n"
        "a=fmtp:111 minptime=10;useinbandfec=1\r\na=ptime:20\r\na=rtcp-mux\r\n"
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\na=sendrecv\r\n"
    )


def trunk_sdp(port):
    return f"{session()}m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    text = value.encode()
    return b"%d:%s" % (len(text), text)


def bdecode(text):
    """A value and what follows it."""
    kind = text[:1]
    if kind == b"i":
        number, rest = text[1:].split(b"e", 1)
        return int(number), rest
    if kind in (b"l", b"d"):
        rest, values = text[1:], []
        while not rest.startswith(b"e"):
            value, rest = bdecode(rest)
            values.append(value)
        return (values if kind == b"l" else dict(zip(values[::2], values[1::2]))), rest[1:]
    length, rest = text.split(b":", 1)
    return rest[: int(length)].decode(errors="replace"), rest[int(length) :]
