"""What the call does to speech (PESQ-NB), and how long its set-up takes."""

import time

import audio
from starvation import Watch

# Copies of a sentence group scored each way; the median counts.
COPIES = 3
ATTEMPTS = 3
# For the browser's jitter buffer to find its depth.
SETTLING_S = 1
# Below one G.711 encoding of the same speech by at most this.
BELOW_CEILING_MAX = 0.25
# The reference gateway's figures on a quiet machine.
TO_TRUNK_MIN = 3.70
TO_BROWSER_MIN = 3.88


def test_speech_is_nearly_as_good_as_one_g711_encoding(open_phone, start_trunk, start_gateway, report):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone()
    phone.register(gateway)
    phone.wait_for("registered")

    for attempt in range(1, ATTEMPTS + 1):
        to_trunk, to_browser, watch = talk(phone, trunk, attempt)
        report(f"PESQ to the trunk {to_trunk}; to the browser {to_browser}; {watch}")
        good = meets(to_trunk, TO_TRUNK_MIN) and meets(to_browser, TO_BROWSER_MIN)
        if good or not watch.starved:
            break
    report_set_up_times(phone, trunk, report)
    assert good, (
        f"to the trunk {to_trunk}, to the browser {to_browser}"
        + (f"; the machine was starved in each of {ATTEMPTS} calls: {watch}" if watch.starved else "")
    )


def meets(score, least):
    return score.median >= max(least, score.ceiling - BELOW_CEILING_MAX)


def talk(phone, trunk, attempt):
    """One call, long enough for the copies, scored both ways."""
    group_s = max(len(audio.speech(side, 8000)) / 8000 for side in audio.SENTENCES)
    phone.call("+15550100")
    phone.wait_for("confirmed")
    phone.wait_for("audio-arrives")
    time.sleep(SETTLING_S)
    before, _ = phone.heard()
    with Watch() as watch:
        time.sleep((COPIES + 1) * group_s)
    heard, rate_hz = phone.heard()
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED", attempt)
    to_trunk = audio.score("browser", *trunk.heard())
    to_browser = audio.score("trunk", heard[len(before) :], rate_hz)
    return to_trunk, to_browser, watch


def report_set_up_times(phone, trunk, report):
    """Of the first call, by the page's clock; at the trunk by baresip's events."""
    at = {}
    for note in phone.notes():
        at.setdefault(note["name"], note["at_ms"])
    trunk_rtp_ms = 1000 * (trunk.wait_for("CALL_RTPESTAB")["at"] - trunk.wait_for("CALL_ESTABLISHED")["at"])
    report(
        f"set-up: connect and REGISTER {at['registered'] - at['starting']:.0f} ms,"
        f" INVITE to 200 {at['accepted'] - at['sending']:.0f} ms,"
        f" 200 to first audio in the browser {at['audio-arrives'] - at['accepted']:.0f} ms,"
        f" ACK to first RTP at the trunk {trunk_rtp_ms:.0f} ms"
    )
