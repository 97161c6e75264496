"""Firefox, which numbers its payload types by itself, has telephone events at 8 kHz only and no RED."""

import audio
from waiting import wait_until


def assert_talking(phone, trunk):
    wait_until(lambda: audio.hears("trunk", *phone.heard()), "Firefox to hear the trunk", 15, 0.5)
    wait_until(lambda: audio.hears("browser", *trunk.heard()), "the trunk to hear Firefox", 15, 0.5)


def assert_digits_cross(phone, trunk):
    phone.do("sendEvents", "159*0#D")
    wait_until(lambda: trunk.digits() == "159*0#D", lambda: f"159*0#D at the trunk, not {trunk.digits()}", 8)


def test_firefox_calls_a_number_and_both_hear_each_other(library, firefox, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone(library, firefox)
    phone.register(gateway)
    phone.wait_for("registered")

    phone.call("+15550100")
    phone.wait_for("confirmed")

    assert_talking(phone, trunk)
    assert_digits_cross(phone, trunk)
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")


def test_firefox_is_called_from_the_trunk(firefox, open_phone, start_trunk, start_gateway):
    trunk = start_trunk()
    gateway = start_gateway(trunk)
    phone = open_phone("jssip", firefox)
    phone.register(gateway)
    phone.wait_for("registered")

    trunk.dial(f"sip:1001@{gateway.sip_address}")
    phone.wait_for("ringing")
    phone.answer()
    trunk.wait_for("CALL_ESTABLISHED")

    assert_talking(phone, trunk)
    assert_digits_cross(phone, trunk)
    trunk.hang_up()
    phone.wait_for("ended")
