"""`kill -9` of the signaling process in the middle of a browser's call."""

import time

import pytest

import audio
from starvation import Watch

# One packet: a hole as long as this is a packet that was not there.
HOLE_MS_MAX = 20
DEAD_S = 3


@pytest.mark.parametrize("ends", ["browser", "trunk"])
def test_kill_of_signaling_keeps_the_call_talking(ends, humming_chromium, open_phone, start_trunk, start_gateway, report):
    trunk = start_trunk(sound="trunk hum")
    gateway = start_gateway(trunk)
    phone = open_phone(browser=humming_chromium)
    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100")
    phone.wait_for("confirmed")
    phone.wait_for("audio-arrives")
    time.sleep(1)  # both jitter buffers have settled

    before = Snapshot(phone, trunk)
    with Watch() as watch:
        gateway.kill("signal")
        time.sleep(DEAD_S)
        gateway.start("signal")
        gateway.wait_until_ready()
        phone.wait_for("registered", timeout_s=20)
        time.sleep(1)
    after = Snapshot(phone, trunk)
    assert_no_gap(before, after, watch, report)

    hang_up(ends, phone, trunk, count=1)
    gateway.wait_for_record()
    phone.call("+15550100")
    phone.wait_for("confirmed")
    hang_up(ends, phone, trunk, count=2)


def hang_up(ends, phone, trunk, count):
    (phone if ends == "browser" else trunk).hang_up()
    phone.wait_for("ended")
    trunk.wait_for("CALL_CLOSED", count)


class Snapshot:
    """What both ends have received up to now."""

    def __init__(self, phone, trunk):
        self.at = time.monotonic()
        self.trunk, self.trunk_hz = trunk.heard()
        self.browser_stats = phone.stats("inbound-rtp")[0]
        self.browser, self.browser_hz = phone.heard()


def assert_no_gap(before, after, watch, report):
    seconds = after.at - before.at
    at_trunk = after.trunk[len(before.trunk) :]
    at_browser = after.browser[len(before.browser) :]
    trunk_hole_ms = audio.longest_hole_ms(at_trunk, after.trunk_hz)
    browser_hole_ms = audio.longest_hole_ms(at_browser, after.browser_hz)
    # The trunk's recording has no silence put in for packets that are missing, so it must be as long
    # as the time that went by; the browser counts what was lost.
    missing_ms = 1000 * (seconds - len(at_trunk) / after.trunk_hz)
    packets = after.browser_stats["packetsReceived"] - before.browser_stats["packetsReceived"]
    lost = after.browser_stats["packetsLost"] - before.browser_stats["packetsLost"]
    report(
        f"signaling dead for {DEAD_S} s: longest hole at the trunk {trunk_hole_ms} ms, in the browser"
        f" {browser_hole_ms} ms; {missing_ms:.0f} ms missing at the trunk, {lost} packets lost in the"
        f" browser of {packets}; {watch}"
    )
    assert trunk_hole_ms <= HOLE_MS_MAX, f"{watch}"
    assert browser_hole_ms <= HOLE_MS_MAX, f"{watch}"
    assert missing_ms < 100, f"{watch}"
    assert lost == 0 and abs(packets - 50 * seconds) < 10, f"{watch}"
