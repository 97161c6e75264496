"""DTMF both ways, as RFC 4733 events at either clock and as INFO."""

import numpy as np
import pytest

import audio
from starvation import Watch
from test_addresses import Trunk
from waiting import wait_until

ATTEMPTS = 3

# What the browser must not offer, so that it speaks the clock of the test's name.
OTHER_CLOCK_HZ = {"48 kHz": 8000, "8 kHz": 48000}


def talk(phone, gateway, **options):
    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100", **options)
    phone.wait_for("confirmed")
    phone.wait_for("audio-arrives")


def play(digits, trunk, phone):
    """Sends digits out of the trunk; what the browser plays up to the last of them."""
    before = len(phone.heard()[0])

    def played():
        samples, rate_hz = phone.heard()
        return audio.digits_heard(samples[before:], rate_hz)

    with Watch() as watch:
        trunk.send_digits(digits)
        wait_until(
            lambda: played().endswith(digits[-1]),
            lambda: f"the browser to play {digits}; it played {played()}", 8, 0.5)
    return played(), watch


@pytest.mark.parametrize("clock", OTHER_CLOCK_HZ)
def test_digits_cross_both_ways_as_events(clock, library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk(sound="trunk hum")
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    talk(phone, gateway, shaping={"without_event_clock_hz": OTHER_CLOCK_HZ[clock]})

    phone.do("sendEvents", "159*0#D")
    wait_until(lambda: trunk.digits() == "159*0#D", "the trunk to receive 159*0#D", 8)

    for _ in range(ATTEMPTS):
        played, watch = play("7*36", trunk, phone)
        # A trunk that sends late, or a browser that plays late, cuts a tone in two.
        if played == "7*36" or not watch.starved:
            break
    assert played == "7*36", f"{watch}"

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

    with gateway.control() as control:
        phone.do("sendEvents", "5", 2500)
        trunk.wait_for("CALL_DTMF_END", timeout_s=8)
        # By the clock of the packets, not by when they came.
        event = control.event("telephone_event")

    assert trunk.digits() == "5"
    assert (event["leg"], event["digit"]) == ("a", "5")
    assert 2400 <= event["duration_ms"] <= 2600
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def dialled(digits, on_ms=80, off_ms=80):
    """A number dialled by ear, as samples."""
    pieces = []
    for digit in digits:
        low = next(at for at, row in enumerate(audio.KEYS) if digit in row)
        tones = [audio.LOW_HZ[low], audio.HIGH_HZ[audio.KEYS[low].index(digit)]]
        time = np.arange(on_ms * 8) / audio.NARROWBAND_HZ
        pieces += [0.2 * sum(np.sin(2 * np.pi * hz * time) for hz in tones), np.zeros(off_ms * 8)]
    return np.concatenate(pieces)


def test_digits_in_a_trunks_audio_are_events(open_phone, closing, start_gateway):
    digits = "159#*0D"
    trunk = Trunk(closing, audio.to_g711(np.concatenate([dialled(digits), np.zeros(160)])), speaks_at=None)
    gateway = start_gateway(trunk.sip, terms={"in_band_digits": True})
    phone = open_phone()
    trunk.call(phone, gateway)
    with gateway.control() as control:
        told = "".join(control.event("telephone_event")["digit"] for _ in range(3 * len(digits)))
    # It is dialled again and again; the first that was heard whole may be any.
    assert told in digits * 5, told
    heard = audio.digits_heard(*phone.heard())
    assert heard and heard[1:-1] in digits * 9, f"the browser played {heard}"
    phone.hang_up()
    trunk.take_bye(gateway)
