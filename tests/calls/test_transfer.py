"""Transfers: a browser joins whoever it talks with to somebody else, blind and attended, and the two hear each
other while nobody but it was asked for anything."""

import time

import pytest

from test_changes import wait_until_heard


@pytest.fixture
def talking(library, humming_chromium, open_phone, start_trunk, start_gateway):
    """A browser of user 1001 that talks with a trunk's number, and a browser of user 1002."""
    trunk = start_trunk(sound="trunk hum")
    gateway = start_gateway(trunk)
    phone, other = [open_phone(library, browser=humming_chromium) for _ in range(2)]
    for page, user in [(phone, "1001"), (other, "1002")]:
        page.register(gateway, user=user)
        page.wait_for("registered")
    phone.call("+15550100")
    phone.wait_for("confirmed")
    wait_until_heard(phone, "the browser")
    wait_until_heard(trunk, "the trunk")
    return phone, other, trunk, gateway


def end_joined(other, trunk, gateway):
    """The two talk; whoever was transferred to hangs up; both records end there."""
    time.sleep(1.5)  # What either heard of who transferred is over.
    wait_until_heard(other, "the other browser")
    wait_until_heard(trunk, "the trunk")
    other.hang_up()
    trunk.wait_for("CALL_CLOSED")
    gateway.wait_for_record(count=2)
    first, second = sorted(gateway.records(), key=lambda record: record["started"])
    assert (first["from"], first["to"], second["from"], second["to"]) == ("1001", "+15550100", "1001", "1002")
    assert first["ended"] == second["ended"]
    assert [record["transfers"][0]["by"] for record in (first, second)] == ["1001", "1001"]
    assert (first["transfers"][0]["joined"], second["transfers"][0]["joined"]) == (second["call"], first["call"])


def test_a_browser_transfers_its_call_to_another_user(talking):
    phone, other, trunk, gateway = talking
    phone.transfer("1002")
    assert other.wait_for("ringing")["caller"] == "+15550100"
    assert phone.wait_for_transfer("progress")["status"] == 180
    other.answer()
    assert phone.wait_for_transfer("accepted")["status"] == 200
    assert phone.wait_for("ended")["by"] == "remote"
    end_joined(other, trunk, gateway)


def test_a_browser_joins_the_two_it_talks_with(talking):
    phone, other, trunk, gateway = talking
    phone.hold()
    phone.call("1002")
    other.wait_for("ringing")
    other.answer()
    other.wait_for("confirmed")
    wait_until_heard(other, "the other browser")
    phone.transfer()
    assert phone.wait_for_transfer("accepted")["status"] == 200
    for _ in range(2):
        assert phone.wait_for("ended")["by"] == "remote"
    end_joined(other, trunk, gateway)


def test_who_is_transferred_to_a_busy_user_stays_and_can_be_resumed(talking):
    phone, other, trunk, gateway = talking
    phone.hold()
    phone.transfer("1002")
    other.wait_for("ringing")
    other.do("decline", 486)
    assert phone.wait_for_transfer("failed")["status"] == 486
    phone.resume()
    wait_until_heard(phone, "the browser")
    wait_until_heard(trunk, "the trunk")
    phone.transfer("no.such.user.1" * 8)
    assert phone.wait_for_transfer("refused")["status"] == 404
    phone.hang_up()
    trunk.wait_for("CALL_CLOSED")
    gateway.wait_for_record(count=2)
    assert sorted(record["sip_status"] for record in gateway.records()) == [200, 486]
