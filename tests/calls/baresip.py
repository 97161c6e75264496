"""The far end of a trunk: baresip, driven over its ctrl_tcp module (JSON in netstrings)."""

import json
import queue
import socket
import subprocess
import threading
import time
from pathlib import Path

import audio
from ports import ADDRESS, free_block, free_port
from waiting import wait_until

CONFIG = """\
sip_listen {address}:{sip_port}
net_interface {address}
call_local_timeout 120
call_max_calls 4
audio_player aubridge,nil
audio_source aufile,{speech}
audio_alert aubridge,nil
ausrc_srate 8000
auplay_srate 8000
audio_level no
audio_buffer 20-160
rtp_ports {rtp_first}-{rtp_last}
snd_path {recordings}
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module uuid.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen {address}:{control_port}
"""


class Baresip:
    """One baresip with one account. `answer` is its answermode: auto, manual or early."""

    def __init__(self, directory, speech, answer="auto", codecs="PCMU,PCMA", user="trunk"):
        self.directory = Path(directory)
        self.recordings = self.directory / "recordings"
        self.recordings.mkdir(parents=True)
        self.sip_port = free_port()
        self.user = user
        control_port = free_port()
        rtp_first = free_block(20)
        (self.directory / "config").write_text(CONFIG.format(
            address=ADDRESS, sip_port=self.sip_port, speech=speech, rtp_first=rtp_first,
            rtp_last=rtp_first + 19, recordings=self.recordings, control_port=control_port,
        ))
        (self.directory / "accounts").write_text(
            f"<sip:{user}@{ADDRESS}:{self.sip_port};transport=udp>"
            f";regint=0;answermode={answer};audio_codecs={codecs};ptime=20\n"
        )
        self.log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(
            ["baresip", "-f", self.directory, "-v"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
        )
        self.events = []
        self.replies = queue.Queue()
        self.arrived = threading.Condition()
        self.control = wait_until(
            lambda: _connect(control_port), f"baresip's control port ({self.directory}/log)"
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def address(self):
        return f"{ADDRESS}:{self.sip_port}"

    def command(self, command, parameters=""):
        """Runs one command of baresip's menu and returns what it printed."""
        text = json.dumps({"command": command, "params": parameters}).encode()
        self.control.sendall(b"%d:%s," % (len(text), text))
        reply = self.replies.get(timeout=5)
        assert reply["ok"], f"baresip refused {command} {parameters}: {reply}"
        return reply.get("data", "")

    def dial(self, target):
        self.command("dial", target)

    def accept(self):
        self.command("accept")

    def hang_up(self):
        self.command("hangup")

    def hold(self):
        self.command("hold")

    def resume(self):
        self.command("resume")

    def send_digits(self, digits):
        """As RFC 4733 events, one after the other."""
        for digit in digits:
            self.command("sndcode", digit)
            time.sleep(0.25)

    def wait_for(self, kind, count=1, timeout_s=10):
        """The first event of this kind (the `count`th, if more are asked)."""
        def found():
            return [event for event in self.events if event["type"] == kind]

        with self.arrived:
            enough = self.arrived.wait_for(lambda: len(found()) >= count, timeout_s)
            seen = [event["type"] for event in self.events]
            assert enough, f"baresip did not see {kind} within {timeout_s} s; it saw {seen}"
            return found()[count - 1]

    def digits(self):
        """The digits it received so far."""
        with self.arrived:
            return "".join(
                event["param"] for event in self.events if event["type"] == "CALL_DTMF_START"
            )

    def heard(self):
        """The newest recording of what came in: samples and rate."""
        return audio.read_wav(self._newest("dec"))

    def said(self):
        return audio.read_wav(self._newest("enc"))

    def _newest(self, direction):
        files = sorted(self.recordings.glob(f"*-{direction}.wav"), key=lambda f: f.stat().st_mtime)
        assert files, f"baresip recorded nothing in {self.recordings}"
        return files[-1]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.control.close()
        self.log.close()

    def _read(self):
        pending = b""
        while True:
            try:
                received = self.control.recv(65536)
            except OSError:
                return
            if not received:
                return
            pending += received
            while b":" in pending:
                length, rest = pending.split(b":", 1)
                size = int(length)
                if len(rest) < size + 1:
                    break
                self._take(json.loads(rest[:size]))
                pending = rest[size + 1 :]

    def _take(self, message):
        if message.get("response"):
            self.replies.put(message)
            return
        message["at"] = time.monotonic()
        with self.arrived:
            self.events.append(message)
            self.arrived.notify_all()


def _connect(port):
    try:
        connection = socket.create_connection((ADDRESS, port), timeout=1)
        connection.settimeout(None)
        return connection
    except OSError:
        return None
