"""The conformance matrix: what browsers' libraries and carriers do, and the test that sees how each is met.
A run of all call tests prints it and writes CONFORMANCE.md; a name that no test has fails the run.

Tests named here run against JsSIP and SIP.js in Chromium unless their own names say otherwise. Those of the
engine run in Rust under a virtual clock: what takes minutes, or what neither library can be brought to do."""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent / "CONFORMANCE.md"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Item:
    """One behaviour, and the call tests or the engine's that see it; without any, why not."""

    behaviour: str
    tests: tuple[str, ...] = ()
    why_not: str = ""


def seen(behaviour, *tests):
    return Item(behaviour, tests)


def not_seen(behaviour, why_not):
    return Item(behaviour, (), why_not)


MATRIX = {
    "SIP over WebSocket": (
        seen("the subprotocol `sip` is required and echoed",
             "test_a_websocket_without_the_sip_subprotocol_is_refused",
             "test_a_browser_calls_a_number_and_both_hear_each_other"),
        seen("a page of another Origin may not connect", "test_a_page_of_a_foreign_origin_may_not_connect"),
        seen("a browser is reached over its connection, by the contact that it registered, whatever host it names",
             "test_a_browser_is_called_from_the_trunk"),
        seen("each leg has a Call-ID of its own, so no library meets a loop of its own", "test_one_browser_calls_another"),
        seen("a wrong password is refused, by one MD5 challenge with qop=auth",
             "test_a_wrong_password_is_refused_and_rings_nobody"),
        seen("two tabs of one user are two contacts and both ring",
             "test_two_tabs_of_a_user_both_ring_and_the_first_to_answer_talks"),
        seen("a connection that comes back takes its calls along",
             "test_kill_of_signaling_keeps_the_call_talking"),
        seen("garbage ends at most its own connection",
             "test_garbage_on_the_websocket_is_answered_or_ends_only_that_connection"),
        seen("too short a registration is refused with Min-Expires", "signal::tests::registration"),
        not_seen("Flow-Timer, pub-gruu and temp-gruu", "not offered: no library needs them, and nothing polices them yet"),
    ),
    "Calls of the libraries": (
        seen("every 200 has SDP, the same bytes as the 183 before it",
             "test_the_caller_hears_what_the_trunk_plays_before_it_answers"),
        seen("a forking trunk is one callee under one tag, with one SDP",
             "test_a_forking_trunk_that_wants_longer_sessions_and_reliable_responses_is_one_simple_callee"),
        seen("hold is answered with the complement and obeyed; the trunk is sent silence",
             "test_a_browser_holds_and_resumes_and_the_trunk_is_sent_silence_meanwhile"),
        seen("whoever is held hears silence, or the operator's music",
             "test_a_browser_holds_and_resumes_and_the_trunk_is_sent_silence_meanwhile",
             "signal::tests::changes::who_is_held_hears_the_operators_music_and_silence_where_it_cannot_be_read"),
        seen("a refresh without SDP, as JsSIP sends every 45 s, is answered without SDP",
             "signal::tests::changes::a_sign_of_life_without_sdp_is_answered_without_sdp"),
        seen("no refresh, re-INVITE or UPDATE of a trunk ever reaches a browser",
             "test_what_a_carrier_changes_in_mid_call_is_answered_and_the_browser_is_not_asked",
             "test_a_trunk_holds_and_resumes_and_the_browser_is_not_asked"),
        seen("an ICE restart gets new credentials and keeps the keys",
             "test_an_ice_restart_changes_the_credentials_and_not_the_call"),
        seen("another certificate begins another association",
             "signal::tests::audio::audio_goes_on_through_a_refresh_an_ice_restart_and_a_new_certificate"),
        seen("a caller who gives up, and a callee who declines, are heard on the other side",
             "test_a_caller_who_gives_up_stops_the_browser_ringing",
             "test_the_trunk_learns_that_the_browser_declined",
             "test_a_cancelled_call_stops_ringing_at_the_trunk"),
        seen("the trunk's refusal reaches the browser as what it can act on", "test_the_caller_learns_why_the_trunk_refused"),
        seen("requests in the callee's early dialog are answered as in any dialog",
             "signal::tests::changes::a_browser_that_is_asked_is_answered_in_its_early_dialog"),
        seen("one change at a time: glare is 491, a second INVITE too early 500",
             "signal::tests::changes::a_second_invite_before_the_first_ones_ack_comes_back_later",
             "signal::tests::lasting::after_a_glare_we_wait_and_ask_again"),
        seen("REFER to a number is carried out, and its NOTIFYs are what the library expects",
             "test_a_browser_transfers_its_call_to_another_user",
             "test_who_is_transferred_to_a_busy_user_stays_and_can_be_resumed"),
        seen("REFER with Replaces joins the two whom a browser talks with",
             "test_a_browser_joins_the_two_it_talks_with",
             "signal::tests::transfer::two_calls_of_one_user_are_joined_whichever_is_transferred_into_which"),
        seen("who transfers may hang up at once",
             "signal::tests::transfer::a_caller_from_a_trunk_is_transferred_to_another_user_who_sees_who_it_is"),
    ),
    "Browsers' SDP": (
        seen("video and data are refused in place, port 0 in the same order",
             "test_video_and_data_are_refused_and_the_audio_is_accepted"),
        seen("payload types are the browser's own, in Chromium and Firefox",
             "test_a_browser_calls_a_number_and_both_hear_each_other",
             "test_firefox_calls_a_number_and_both_hear_each_other"),
        seen("candidates are learnt from checks: none, mDNS, TURN over TCP",
             "test_a_browser_that_may_only_use_turn_over_tcp_talks"),
        seen("an offer that is not open both ways is answered and obeyed",
             "test_an_offer_that_is_not_open_both_ways_is_answered_and_obeyed"),
        seen("no common codec is 488", "test_a_browser_without_a_common_codec_is_refused"),
        seen("attributes, blanks and lines that nobody uses cost no call",
             "wire::sdp::trunk::tests::media_lines_blanks_and_attributes_that_nobody_uses_cost_nothing"),
        seen("a browser gone without a word is noticed by its consent",
             "signal::tests::endings::a_browser_whose_consent_expired_ends_the_call_on_both_sides"),
        not_seen("Safari", "does not run here"),
    ),
    "Digits": (
        seen("RFC 4733 crosses both ways, each side by its own clock and number", "test_digits_cross_both_ways_as_events"),
        seen("INFO as either library sends it leaves as events", "test_digits_in_info_requests_reach_the_trunk_as_events"),
        seen("a long press is one digit", "test_a_long_press_is_one_digit"),
        seen("one packet lost of five loses, doubles and stretches no digit",
             "media::tests::digits::one_packet_lost_of_five_loses_doubles_and_stretches_no_digit"),
        seen("a trunk without telephone events hears tones",
             "signal::tests::in_call::a_trunk_that_takes_no_events_hears_tones_one_after_the_other"),
        seen("a digit that nobody can press is refused", "signal::tests::in_call::a_digit_that_nobody_can_press_is_refused"),
        seen("digits in a trunk's audio are events where its terms ask for them, within ITU-T Q.24, and half an hour of "
             "speech has none",
             "test_digits_in_a_trunks_audio_are_events",
             "media::tests::tones::digits_in_the_audio_are_events_one_each",
             "audio::dtmf::tones::tests::what_has_to_be_taken_is"),
    ),
    "Trunks": (
        seen("an INVITE stays below 1,300 bytes and has nothing of the browser's SDP",
             "test_an_invite_to_the_trunk_is_small_and_has_nothing_of_the_browser"),
        seen("answers without a tag, with two Contacts, with ISUP or odd SDP make a call", "test_an_answer"),
        seen("callers with odd names or none, and those that hide, ring", "test_a_caller"),
        seen("late offers, moves, codec changes, hold and refreshes in mid-call are followed",
             "test_what_a_carrier_changes_in_mid_call_is_answered_and_the_browser_is_not_asked",
             "signal::tests::changes::whatever_a_trunk_changes_in_mid_call_is_followed"),
        seen("reliable provisional responses are PRACKed, a longer session interval is taken up",
             "test_a_forking_trunk_that_wants_longer_sessions_and_reliable_responses_is_one_simple_callee"),
        seen("session timers by either refresher, UPDATE or unchanged re-INVITE",
             "test_a_session_is_refreshed_by_us_and_ended_where_the_trunk_does_not_refresh_it",
             "signal::tests::lasting"),
        seen("hold by direction and by c=0.0.0.0",
             "test_a_trunk_holds_and_resumes_and_the_browser_is_not_asked",
             "signal::trunk::tests::a_hold_by_address_keeps_the_address"),
        seen("ring-back tone where a trunk rings without a sound and its terms ask for one",
             "signal::tests::in_call::a_trunk_that_rings_without_a_sound_is_given_one_where_its_terms_say_so"),
        seen("the next trunk takes over on 503 and on silence",
             "test_the_next_trunk_takes_over_when_the_first_is_unavailable",
             "test_the_next_trunk_takes_over_when_the_first_is_silent"),
        seen("a process that is told to end says BYE on both sides",
             "test_told_to_end_with_a_call_up_both_sides_hear_it_and_the_record_is_written"),
        seen("a trunk that requires it is told reliably that a browser rings",
             "signal::tests::changes::a_trunk_that_requires_it_acknowledges_that_a_browser_rings"),
        not_seen("digest, TCP, TLS and registration at a trunk", "not there yet"),
    ),
}


def items():
    return [item for section in MATRIX.values() for item in section]


def engine_tests():
    """The text of every Rust source: an engine's test is there if its function, or its module, is."""
    return {path: path.read_text() for path in (ROOT / "src").rglob("*.rs")}


def missing(collected):
    """Names that no test has. `collected` are the names of the call tests."""
    sources = engine_tests()
    unknown = []
    for name in sorted({test for item in items() for test in item.tests}):
        if "::" not in name:
            if name not in collected:
                unknown.append(name)
            continue
        *modules, last = name.split("::")
        is_function = any(f"fn {last}(" in text for text in sources.values())
        is_module = (ROOT / "src" / "/".join([*modules, last])).with_suffix(".rs").exists()
        if not is_function and not is_module:
            unknown.append(name)
    return unknown


def verdict(item, outcomes):
    """What a run says of an item: its call tests that ran, and the engine's, which have their own step."""
    if item.why_not:
        return "no"
    mine = [outcome for test in item.tests for outcome in outcomes.get(test, [])]
    if any(outcome != "passed" for outcome in mine):
        return "FAILED"
    return "passed" if mine else "by the engine's tests"


def page(outcomes):
    lines = ["# Conformance", "",
             "What browsers' libraries and carriers do, and how each is met. Written by a run of all call tests",
             "(`tools/test calls`); [conformance.py](conformance.py) has the matrix."]
    for title, section in MATRIX.items():
        lines += ["", f"## {title}", "", "| behaviour | test | seen |", "|---|---|---|"]
        for item in section:
            tests = "<br>".join(f"`{test}`" for test in item.tests) or item.why_not
            lines.append(f"| {item.behaviour} | {tests} | {verdict(item, outcomes)} |")
    return "\n".join(lines) + "\n"
