"""Headless Firefox over Marionette (TCP, JSON arrays as netstrings).

Unlike Chromium it runs no AudioContext without a sound card, so it gets a PulseAudio of its own with
a null sink. Its microphone is made in the page (`speak`): Firefox's fake device only knows a tone.
"""

import base64
import itertools
import json
import os
import socket
import subprocess
import tempfile
from pathlib import Path

from ports import ADDRESS, free_port
from waiting import wait_until

PREFERENCES = {
    "media.autoplay.default": 0,
    "media.autoplay.block-webaudio": False,
    "media.block-autoplay-until-in-foreground": False,
    "media.autoplay.blocking_policy": 0,
    # Candidates that reach the gateway: loopback, which only a page with a microphone gets.
    "media.peerconnection.ice.loopback": True,
    "permissions.default.microphone": 1,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Nothing of its own over the network.
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """One browser with a fresh profile whose user says what a 48 kHz WAV file holds, in a loop."""

    def __init__(self, microphone):
        self.microphone = Path(microphone)
        self.profile = tempfile.TemporaryDirectory(prefix="linecard-firefox-", ignore_cleanup_errors=True)
        port = free_port()
        preferences = {**PREFERENCES, "marionette.port": port}
        (Path(self.profile.name) / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()))
        self.sound = NullSound(Path(self.profile.name) / "sound")
        self.process = subprocess.Popen(
            ["firefox-esr", "--headless", "--no-remote", "--marionette", "--profile", self.profile.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **self.sound.environment, "HOME": self.profile.name},
            start_new_session=True,
        )
        self.numbers = itertools.count(1)
        self.pending = b""
        self.wire = wait_until(lambda: _connect(port), "Firefox's Marionette port", 30, 0.1)
        self._read()
        session = self.command("WebDriver:NewSession", acceptInsecureCerts=True)
        self.version = f"Firefox/{session['capabilities']['browserVersion']}"

    def command(self, name, timeout_s=15, **parameters):
        """One command of Marionette."""
        number = next(self.numbers)
        text = json.dumps([0, number, name, parameters]).encode()
        self.wire.sendall(b"%d:%s" % (len(text), text))
        self.wire.settimeout(timeout_s)
        while True:
            kind, answered, error, result = self._read()
            if (kind, answered) == (1, number):
                assert not error, f"{name}: {error}"
                return result

    def open(self):
        """The browser's one page; a second call starts it afresh."""
        return FirefoxPage(self)

    def speech(self):
        """For the page's `speak`."""
        return base64.b64encode(self.microphone.read_bytes()).decode()

    def close(self):
        try:
            self.command("Marionette:Quit", flags=["eForceQuit"])
        except (AssertionError, OSError):
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait(5)
        self.wire.close()
        self.sound.close()
        self.profile.cleanup()

    def _read(self):
        while b":" not in self.pending:
            self._receive()
        length, self.pending = self.pending.split(b":", 1)
        while len(self.pending) < int(length):
            self._receive()
        text, self.pending = self.pending[: int(length)], self.pending[int(length) :]
        return json.loads(text)

    def _receive(self):
        received = self.wire.recv(1 << 20)
        assert received, "Firefox closed its Marionette connection"
        self.pending += received


class NullSound:
    """A PulseAudio whose only device takes sound and drops it at the pace of a sound card."""

    def __init__(self, directory):
        directory.mkdir()
        self.environment = {"PULSE_SERVER": f"unix:{directory}/socket"}
        self.process = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
             "-L", "module-null-sink",
             "-L", f"module-native-protocol-unix socket={directory}/socket auth-anonymous=1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(directory), "XDG_RUNTIME_DIR": str(directory)},
        )
        wait_until((directory / "socket").exists, "PulseAudio's socket")

    def close(self):
        self.process.terminate()
        self.process.wait(5)


class FirefoxPage:
    """What `browser.Phone` needs of a page."""

    def __init__(self, browser):
        self.browser = browser

    def go(self, url, timeout_s=15):
        self.browser.command("WebDriver:Navigate", timeout_s, url=url)

    def evaluate(self, expression, timeout_s=10):
        """The value of a JavaScript expression; a promise is awaited, an exception fails the test."""
        script = f"return (async () => JSON.stringify(await ({expression})) ?? null)();"
        result = self.browser.command(
            "WebDriver:ExecuteScript", timeout_s + 5, script=script, args=[], sandbox=None)
        return None if result["value"] is None else json.loads(result["value"])

    def close(self):
        self.browser.command("WebDriver:Navigate", url="about:blank")


def _connect(port):
    try:
        return socket.create_connection((ADDRESS, port), timeout=15)
    except OSError:
        return None
