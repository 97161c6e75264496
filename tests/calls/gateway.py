"""The real `linecard` binary, on loopback ports and in a directory of its own."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

from control import Control
from ports import ADDRESS, free_block, free_port, udp_is_bound
from waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "linecard"
DOMAIN = "example.com"
# The users of every test: password, and the numbers that ring them.
USERS = {
    "1001": ("correct horse battery", ["+442079460018"]),
    "1002": ("staple", []),
}


class Gateway:
    """A gateway with these trunks (address by name), these further keys of `[media]`, and these of every
    `[[trunk]]`. `apart` starts the two processes by themselves, as an operator who wants to restart one of
    them would; else `linecard up` starts both."""

    domain = DOMAIN

    def __init__(self, directory, trunks, origins, apart=True, media=None, terms=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.control_path = self.directory / "run" / "media.sock"
        self.records_path = self.directory / "calls.jsonl"
        self.wss_port = free_port()
        self.sip_port = free_port()
        self.browser_port = free_block(4)
        self.trunk_port = free_block(40)
        self.configuration = self.directory / "linecard.toml"
        self.configuration.write_text(self._configure(trunks, origins, media or {}, terms or {}))
        self.processes = {}
        if apart:
            self.start("media")
            self.start("signal")
        else:
            self.start("up")
        self.wait_until_ready()

    def _configure(self, trunks, origins, media, terms):
        media = {
            "control": str(self.control_path),
            "address": ADDRESS,
            "browser_port": self.browser_port,
            "trunk_ports": f"{self.trunk_port}-{self.trunk_port + 39}",
            **media,
        }
        lines = [
            "[media]",
            *(f"{key} = {json.dumps(value)}" for key, value in media.items()),
            "[signal]",
            f'wss = "{ADDRESS}:{self.wss_port}"',
            f'sip = "{ADDRESS}:{self.sip_port}"',
            f'domain = "{DOMAIN}"',
            f"allowed_origins = {json.dumps(origins)}",
            f'records = "{self.records_path}"',
        ]
        for name, (password, numbers) in USERS.items():
            lines += ["[[user]]", f'name = "{name}"', f'password = "{password}"',
                      f"numbers = {json.dumps(numbers)}"]
        for name, address in trunks.items():
            lines += ["[[trunk]]", f'name = "{name}"', f'address = "{address}"',
                      *(f"{key} = {json.dumps(value)}" for key, value in terms.items())]
        return "\n".join(lines) + "\n"

    @property
    def wss_url(self):
        return f"wss://{ADDRESS}:{self.wss_port}/sip"

    @property
    def sip_address(self):
        return f"{ADDRESS}:{self.sip_port}"

    def password(self, user):
        return USERS[user][0]

    def start(self, part):
        """One of the subcommands media, signal, up; its log goes to a file of that name."""
        with open(self.directory / f"{part}.log", "ab") as log:
            self.processes[part] = subprocess.Popen(
                [BINARY, part, "--config", self.configuration],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env={**os.environ, "RUST_LOG": os.environ.get("RUST_LOG", "linecard=debug")},
            )

    def kill(self, part):
        """As a crash or the kernel's out-of-memory killer would: no good-bye."""
        process = self.processes.pop(part)
        process.send_signal(signal.SIGKILL)
        process.wait(5)

    def wait_until_ready(self, timeout_s=15):
        """Ready is: the control socket greets, HTTPS accepts, SIP's port is bound."""
        wait_until(self._is_ready, f"the gateway to be ready ({self.directory})", timeout_s)

    def _is_ready(self):
        for part, process in self.processes.items():
            assert process.poll() is None, f"linecard {part} ended: {self.log(part)[-2000:]}"
        try:
            self.control().close()
            socket.create_connection((ADDRESS, self.wss_port), timeout=1).close()
        except OSError:
            return False
        return udp_is_bound(self.sip_port)

    def control(self):
        return Control(self.control_path)

    def log(self, part):
        return (self.directory / f"{part}.log").read_text(errors="replace")

    def calls(self):
        """The calls that the media process holds."""
        with self.control() as control:
            return control.calls()

    def records(self):
        """The call records written so far."""
        if not self.records_path.exists():
            return []
        return [json.loads(line) for line in self.records_path.read_text().splitlines()]

    def wait_for_record(self, count=1, timeout_s=5):
        wait_until(lambda: len(self.records()) >= count, f"{count} call record(s)", timeout_s)
        return self.records()[count - 1]

    def assert_nothing_left(self):
        """No call in media, every process alive, no panic in any log."""
        for part, process in self.processes.items():
            assert process.poll() is None, f"linecard {part} ended: {self.log(part)[-2000:]}"
            assert "panicked" not in self.log(part), self.log(part)[-4000:]
        if not self.processes:  # The test has ended them.
            assert not self.control_path.exists(), "the control socket was left behind"
            return
        wait_until(lambda: not self.calls(), f"no call left in media: {self.calls()}", 5)

    def close(self):
        for process in self.processes.values():
            process.terminate()
        for part, process in self.processes.items():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
                raise AssertionError(f"linecard {part} did not end within 10 s of SIGTERM") from None
