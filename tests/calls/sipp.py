"""Trunks that behave as a scenario says: SIPp with the files in sipp/."""

import re
import signal
import subprocess
from pathlib import Path

from ports import ADDRESS, free_block, free_port, udp_is_bound
from waiting import wait_until

SCENARIOS = Path(__file__).parent / "sipp"


class Sipp:
    """One SIPp that takes one call. `words` replace the scenario's {{words}}."""

    def __init__(self, directory, scenario, timeout_s=40, **words):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.scenario = scenario
        self.port = free_port()
        self.messages_path = self.directory / "messages"
        # SIPp's own keywords cannot stand in a status line, so ours are put in beforehand.
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        for name, value in words.items():
            text = text.replace("{{" + name + "}}", value)
        scenario_path = self.directory / "scenario.xml"
        scenario_path.write_text(text)
        command = [
            "sipp", f"{ADDRESS}:9", "-sf", scenario_path,
            "-i", ADDRESS, "-p", str(self.port), "-mi", ADDRESS, "-mp", str(free_block(4)),
            "-m", "1", "-nostdin", "-timeout", str(timeout_s), "-timeout_error",
            "-default_behaviors", "all,-abortunexp",
            "-trace_msg", "-message_file", self.messages_path,
            "-trace_err", "-error_file", self.directory / "errors",
        ]
        self.log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            cwd=self.directory,
        )
        wait_until(lambda: udp_is_bound(self.port), f"SIPp on port {self.port}", 5)

    @property
    def address(self):
        return f"{ADDRESS}:{self.port}"

    def messages(self):
        """What went over its socket, as (sent or received, text)."""
        if not self.messages_path.exists():
            return []
        text = self.messages_path.read_text(errors="replace")
        parts = re.split(r"-{10,} .*\nUDP message (sent|received) .*\n\n", text)
        return list(zip(parts[1::2], parts[2::2]))

    def received(self, start):
        """The received messages that begin so."""
        return [text for way, text in self.messages() if way == "received" and text.startswith(start)]

    def wait_until_received(self, start, timeout_s=10):
        return wait_until(
            lambda: self.received(start), f"SIPp to receive {start} ({self.directory})", timeout_s
        )[0]

    def wait_until_done(self, timeout_s=15):
        """The scenario ran to its end."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"SIPp's {self.scenario} did not end ({self.directory})") from None
        assert status == 0, f"SIPp's {self.scenario} failed with {status} ({self.directory})"

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(5)
        self.log.close()


def header(message, name):
    """The value of a SIP message's header, or None."""
    found = re.search(rf"^{name}\s*:\s*(.*?)\s*$", message, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else None
