"""DTMF both ways, as RFC 4733 events at either clock and as INFO."""

import pytest

import audio
from waiting import wait_until

# What the browser must not offer, so that it speaks the clock of the test's name.
OTHER_CLOCK_HZ = {"48 kHz": 8000, "8 kHz": 48000}


def talk(phone, gateway, **options):
    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100", **options)
    phone.wait_for("confirmed")
    phone.wait_for("audio-arrives")


@pytest.mark.parametrize("clock", OTHER_CLOCK_HZ)
def test_digits_cross_both_ways_as_events(clock, library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk(sound="trunk hum")
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    talk(phone, gateway, shaping={"without_event_clock_hz": OTHER_CLOCK_HZ[clock]})

    phone.do("sendEvents", "159*0#D")
    wait_until(lambda: trunk.digits() == "159*0#D", "the trunk to receive 159*0#D", 8)

    trunk.send_digits("7*36")
    wait_until(
        lambda: audio.digits_heard(*phone.heard()) == "7*36",
        lambda: f"the browser to play 7*36; it played {audio.digits_heard(*phone.heard())}", 8, 0.5)

    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")
    assert trunk.digits() == "159*0#D"


def test_digits_in_info_requests_reach_the_trunk_as_events(library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    talk(phone, gateway)

    phone.do("sendInfo", "42#")

    wait_until(lambda: trunk.digits() == "42#", lambda: f"42# at the trunk, not {trunk.digits()}", 8)
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def test_a_long_press_is_one_digit(open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone()
    talk(phone, gateway)

    phone.do("sendEvents", "5", 2500)
    trunk.wait_for("CALL_DTMF_END", timeout_s=8)

    start, end = trunk.wait_for("CALL_DTMF_START"), trunk.wait_for("CALL_DTMF_END")
    assert trunk.digits() == "5"
    assert 2.2 < end["at"] - start["at"] < 3.2
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")
