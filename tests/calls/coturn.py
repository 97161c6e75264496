"""A TURN server that relays for one user with a password."""

import socket
import subprocess
from pathlib import Path

from ports import ADDRESS, free_block, free_port
from waiting import wait_until

USER, PASSWORD = "relayed", "through the relay"


class Coturn:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.port = free_port()
        relay_first = free_block(40)
        self.log_path = self.directory / "log"
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(
            [
                "turnserver", "-n", "--listening-ip", ADDRESS, "--listening-port", str(self.port),
                "--relay-ip", ADDRESS, "--min-port", str(relay_first), "--max-port", str(relay_first + 39),
                "--lt-cred-mech", "--realm", "example.com", "--user", f"{USER}:{PASSWORD}",
                "--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--no-udp",
                "--log-file", "stdout", "--simple-log", "--verbose",
                "--pidfile", str(self.directory / "pid"), "--userdb", str(self.directory / "users"),
            ],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, cwd=self.directory,
        )
        wait_until(self._accepts, f"coturn ({self.log_path})", 10)

    def ice(self):
        """An RTCConfiguration that allows nothing but this relay, over TCP."""
        return {
            "iceTransportPolicy": "relay",
            "iceServers": [{
                "urls": f"turn:{ADDRESS}:{self.port}?transport=tcp",
                "username": USER,
                "credential": PASSWORD,
            }],
        }

    def _accepts(self):
        try:
            socket.create_connection((ADDRESS, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.log.close()
