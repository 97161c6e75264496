"""A browser calls the telephone network and is called from it; both hear each other."""

import pytest

import audio
from waiting import wait_until


def assert_talking(phone, trunk):
    """Each side hears the other's voice and not its own."""
    wait_until(lambda: audio.hears("trunk", *phone.heard()), "the browser to hear the trunk", 15, 0.5)
    wait_until(lambda: audio.hears("browser", *trunk.heard()), "the trunk to hear the browser", 15, 0.5)
    assert not audio.hears("browser", *phone.heard())
    assert not audio.hears("trunk", *trunk.heard())


def test_a_browser_calls_a_number_and_both_hear_each_other(library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library)

    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100")
    phone.wait_for("confirmed")
    assert_talking(phone, trunk)

    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")
    record = gateway.wait_for_record()
    assert (record["from"], record["shown_as"], record["to"]) == ("1001", "+442079460018", "+15550100")
    assert (record["sip_status"], record["q850_cause"], record["ended_by"]) == (200, 16, "caller")


@pytest.mark.parametrize("called", ["1001", "+442079460018"], ids=["by its name", "by its number"])
def test_a_browser_is_called_from_the_trunk(library, called, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    phone.register(gateway)
    phone.wait_for("registered")

    trunk.dial(f"sip:{called}@{gateway.sip_address}")
    ringing = phone.wait_for("ringing")
    assert ringing["caller"] == "+15550100"
    phone.answer()
    trunk.wait_for("CALL_ESTABLISHED")
    assert_talking(phone, trunk)

    trunk.hang_up()
    phone.wait_for("ended")


def test_the_trunk_hangs_up_a_call_that_the_browser_made(library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    phone.register(gateway)
    phone.wait_for("registered")
    phone.call("+15550100")
    phone.wait_for("confirmed")

    trunk.hang_up()

    assert phone.wait_for("ended")["by"] == "remote"


def test_the_browser_hangs_up_a_call_that_the_trunk_made(library, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    phone.register(gateway)
    phone.wait_for("registered")
    trunk.dial(f"sip:1001@{gateway.sip_address}")
    phone.wait_for("ringing")
    phone.answer()
    trunk.wait_for("CALL_ESTABLISHED")

    phone.hang_up()

    trunk.wait_for("CALL_CLOSED")


def test_calls_one_after_the_other_leave_nothing_behind(open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone()
    phone.register(gateway)
    phone.wait_for("registered")

    for number in range(1, 6):
        phone.call("+15550100")
        phone.wait_for("confirmed")
        assert len(gateway.calls()) == 1
        phone.hang_up()
        phone.wait_for("ended")
        trunk.wait_for("CALL_CLOSED", number)

    gateway.wait_for_record(5)
    gateway.assert_nothing_left()


@pytest.mark.parametrize("extra", ["video", "data"])
def test_video_and_data_are_refused_and_the_audio_is_accepted(extra, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone()
    phone.register(gateway)
    phone.wait_for("registered")

    phone.call("+15550100", **{extra: True})
    phone.wait_for("confirmed")

    answer = next(note["sdp"] for note in phone.notes("sdp") if note["by"] == "remote")
    lines = [line for line in answer.splitlines() if line.startswith("m=")]
    assert len(lines) == 2 and [line.split()[1] == "0" for line in lines] == [False, True], lines
    assert_talking(phone, trunk)
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def test_a_browser_that_may_only_use_turn_over_tcp_talks(library, open_phone, relay, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    phone.register(gateway, ice=relay.ice())
    phone.wait_for("registered")

    phone.call("+15550100")
    phone.wait_for("confirmed", timeout_s=15)

    assert_talking(phone, trunk)
    pairs = [pair for pair in phone.stats("candidate-pair") if pair["state"] == "succeeded"]
    stats = phone.do("stats")
    assert {stats[pair["localCandidateId"]]["candidateType"] for pair in pairs} == {"relay"}
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def test_the_caller_hears_what_the_trunk_plays_before_it_answers(library, open_phone, sounds, start_sipp, start_gateway):
    trunk = start_sipp("early", codes=str(sounds["trunk codes"]))
    gateway = start_gateway(trunk)
    phone = open_phone(library)
    phone.register(gateway)
    phone.wait_for("registered")

    phone.call("+15550100")
    wait_until(
        lambda: any(n["status"] == 183 and n["has_sdp"] for n in phone.notes("progress")), "a 183 with SDP")
    wait_until(lambda: audio.hears("trunk", *phone.heard()), "early media to be heard", 7, 0.3)
    assert not phone.notes("accepted")

    phone.wait_for("confirmed")
    heard = len(phone.heard()[0])
    wait_until(
        lambda: audio.hears("trunk", phone.heard()[0][heard:], audio.BROWSER_HZ),
        "the trunk to be heard on after its answer", 15, 0.5)
    phone.hang_up()
    trunk.wait_until_done()


def test_one_browser_calls_another(library, open_phone, start_trunk, start_gateway):
    gateway = start_gateway(start_trunk())
    caller, called = open_phone(library), open_phone("jssip")
    for phone, user in ((caller, "1001"), (called, "1002")):
        phone.register(gateway, user)
        phone.wait_for("registered")

    caller.call("1002")
    assert called.wait_for("ringing")["caller"] == "1001"
    called.answer()
    caller.wait_for("confirmed")

    # Both users say the same words: it is one microphone.
    for phone in (caller, called):
        wait_until(lambda phone=phone: audio.hears("browser", *phone.heard()), "the other browser", 15, 0.5)
    called.hang_up()
    caller.wait_for("ended")
