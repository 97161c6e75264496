"""Calls that last: sessions with a timer (RFC 4028), refreshed by either side. It takes a minute, for no session
is shorter than 90 s; both calls have it together."""

import sipp


def test_a_session_is_refreshed_by_us_and_ended_where_the_trunk_does_not_refresh_it(
        open_phone, start_sipp, start_gateway):
    ours = start_sipp("timer", name="ours", refresher="uac", then="UPDATE", timeout_s=80)
    theirs = start_sipp("timer", name="theirs", refresher="uas", then="BYE", timeout_s=80)
    phones, gateways = [], []
    for trunk, library in [(ours, "jssip"), (theirs, "sipjs")]:
        gateway = start_gateway(trunk)
        phone = open_phone(library)
        phone.register(gateway)
        phone.wait_for("registered")
        phone.call("+15550100")
        phone.wait_for("confirmed")
        phones.append(phone)
        gateways.append(gateway)

    # Half of it has passed.
    ours.wait_until_done(timeout_s=60)
    update = ours.received("UPDATE")[0]
    assert sipp.header(update, "Session-Expires") == "90;refresher=uac"
    assert sipp.header(update, "Content-Length") == "0", "what was agreed on stays"
    # A third before its end.
    theirs.wait_until_done(timeout_s=30)
    assert phones[1].wait_for("ended")["by"] == "remote"
    record = gateways[1].wait_for_record()
    assert (record["ended_by"], record["sip_status"]) == ("callee", 200)
    assert "refreshed" in record["reason"], record

    assert not phones[0].notes("ended"), "the other call goes on"
    phones[0].hang_up()
    gateways[0].wait_for_record()
