"""Calls that change, and processes that are told to end: hold and resume from either side, an ICE restart,
what carriers do in mid-call, SIGTERM with calls up."""

import signal
import time

import numpy as np
import pytest

import sipp
from waiting import wait_until

# A hum is as loud as this at either end; what is sent in its place is silence.
LOUD = 0.01
QUIET = 0.001


def level(end):
    """Of the last half second of what an end has heard."""
    samples, rate_hz = end.heard()
    last = samples[-rate_hz // 2 :]
    return float(np.sqrt(np.mean(last**2))) if len(last) else 0.0


def wait_until_heard(end, who):
    wait_until(lambda: level(end) > LOUD, f"{who} to hear the other one", 15, 0.5)


def wait_until_quiet(end, who):
    wait_until(lambda: level(end) < QUIET, f"{who} to hear nothing", 15, 0.5)


@pytest.fixture
def start_call(humming_chromium, open_phone, start_trunk, start_gateway):
    """A browser's call to a baresip, both humming."""
    def start(library, **options):
        trunk = start_trunk(sound="trunk hum")
        gateway = start_gateway(trunk, **options)
        phone = open_phone(library, browser=humming_chromium)
        phone.register(gateway)
        phone.wait_for("registered")
        phone.call("+15550100")
        phone.wait_for("confirmed")
        wait_until_heard(phone, "the browser")
        wait_until_heard(trunk, "the trunk")
        return phone, trunk, gateway
    return start


def end_call(phone, trunk, gateway):
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")
    gateway.wait_for_record()


def test_a_browser_holds_and_resumes_and_the_trunk_is_sent_silence_meanwhile(library, start_call):
    phone, trunk, gateway = start_call(library)
    phone.hold()
    wait_until_quiet(trunk, "the trunk")
    before = len(trunk.heard()[0])
    time.sleep(1)
    # It is sent, so that nobody takes the call for dead.
    assert len(trunk.heard()[0]) - before > 4000
    phone.resume()
    wait_until_heard(trunk, "the trunk")
    wait_until_heard(phone, "the browser")
    end_call(phone, trunk, gateway)


def test_a_trunk_holds_and_resumes_and_the_browser_is_not_asked(library, start_call):
    phone, trunk, gateway = start_call(library)
    described = len(phone.notes("sdp"))
    trunk.hold()
    wait_until_quiet(phone, "the browser")
    trunk.resume()
    wait_until_heard(phone, "the browser")
    wait_until_heard(trunk, "the trunk")
    assert len(phone.notes("sdp")) == described
    end_call(phone, trunk, gateway)


def test_an_ice_restart_changes_the_credentials_and_not_the_call(library, start_call):
    phone, trunk, gateway = start_call(library)
    before = phone.ice_fragment()
    phone.restart_ice()
    assert phone.ice_fragment() != before
    time.sleep(2)
    wait_until_heard(trunk, "the trunk")
    wait_until_heard(phone, "the browser")
    end_call(phone, trunk, gateway)


def test_what_a_carrier_changes_in_mid_call_is_answered_and_the_browser_is_not_asked(
    library, humming_chromium, open_phone, start_sipp, start_gateway
):
    trunk = start_sipp("changes")
    gateway = start_gateway(trunk)
    phone = open_phone(library, browser=humming_chromium)
    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100")
    phone.wait_for("confirmed")
    described = len(phone.notes("sdp"))
    phone.wait_for("ended", timeout_s=15)
    trunk.wait_until_done()
    assert len(phone.notes("sdp")) == described
    invite = trunk.received("INVITE")[0]
    assert "timer" in sipp.header(invite, "Supported")
    record = gateway.wait_for_record()
    assert (record["sip_status"], record["q850_cause"], record["ended_by"]) == (200, 16, "callee")


@pytest.mark.parametrize("order", [["up"], ["signal", "media"], ["media", "signal"]], ids=" then ".join)
def test_told_to_end_with_a_call_up_both_sides_hear_it_and_the_record_is_written(order, start_call):
    phone, trunk, gateway = start_call("jssip", apart=order != ["up"])
    processes = [gateway.processes.pop(part) for part in order]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(10) for process in processes] == [0] * len(order)
    assert phone.wait_for("ended")["by"] == "remote"
    trunk.wait_for("CALL_CLOSED")
    record = gateway.wait_for_record()
    assert (record["sip_status"], record["q850_cause"], record["ended_by"]) == (200, 41, "linecard")
