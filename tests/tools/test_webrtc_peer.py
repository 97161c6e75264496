"""tools/webrtc_peer.py: real offers, the STUN vectors of RFC 5769, and handshakes against OpenSSL's client."""

import time
from pathlib import Path

import pytest
from OpenSSL import SSL

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
# RFC 5769 §2.1, as §2.2 to §2.4 of the same password.
REQUEST = bytes.fromhex("""
    00010058 2112a442 b7e7a701bc34d686fa87dfae 80220010 5354554e207465737420636c69656e74
    00240004 6e0001ff 80290008 932ff9b151263b36 00060009 6576746a3a68367659202020
    00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004 e57a3bcf""")
PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"


@pytest.fixture
def peer(script):
    return script("webrtc_peer.py")


def sample(name):
    return (SAMPLES / name).read_bytes().decode().replace("\r\n", "\n").replace("\n", "\r\n")


CHROMIUM = "chromium-jssip-out_quality-browser-offer.sdp"
FIREFOX = "firefox-jssip-out_quality-browser-offer.sdp"


def test_chromiums_offer_is_read(peer):
    offer = peer.Offer(sample(CHROMIUM))

    assert offer.ufrag in sample(CHROMIUM)
    assert offer.format() == {
        "send": {"codec": "opus", "payload_type": 111, "in_band_fec": True},
        "receive": [{"codec": "opus", "payload_type": 111}],
        "send_events": {"payload_type": 110, "clock_hz": 48000},
        "receive_events": [{"payload_type": 110, "clock_hz": 48000}, {"payload_type": 126, "clock_hz": 8000}],
    }


def test_firefoxes_offer_is_read_whose_fingerprint_is_the_sessions(peer):
    sdp = sample(FIREFOX)
    assert sdp.index("a=fingerprint") < sdp.index("m=audio")

    offer = peer.Offer(sdp)

    assert len(offer.fingerprints) == 1 and offer.fingerprints[0].startswith("sha-256 ")
    assert offer.format()["send_events"]["clock_hz"] == 8000


def test_the_answer_accepts_the_audio_and_refuses_every_other_line(peer):
    offer = peer.Offer(sample("chromium-audio-video-data-offer.sdp"))

    answer = offer.answer("[2001:db8::1]:40000", "ours", "p" * 22, "sha-256 aa:bb").split("\r\n")

    lines = [line.split()[:2] for line in answer if line.startswith("m=")]
    assert [line[0] for line in lines] == [media.split()[0] for media in offer.media]
    assert [line[1] for line in lines if line[0] == "m=audio"] == ["40000"]
    assert {line[1] for line in lines if line[0] != "m=audio"} == {"0"}
    assert f"a=group:BUNDLE {offer.mid}" in answer
    assert "a=candidate:1 1 udp 2130706431 2001:db8::1 40000 typ host" in answer
    assert "c=IN IP6 2001:db8::1" in answer


@pytest.mark.parametrize("written, instead, reason", [
    ("opus/48000/2", "opus/48000", "no Opus"),
    ("m=audio", "m=video", "no audio"),
    ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "no audio"),
    ("a=ice-ufrag:", "a=x:", "no a=ice-ufrag"),
    ("a=fingerprint:sha-256", "a=fingerprint:md5", "no a=fingerprint"),
    ("a=setup:actpass", "a=setup:passive", "no a=setup"),
    ("a=rtcp-mux\r\n", "", "no a=rtcp-mux"),
    ("a=mid:0\r\n", "", "no a=mid"),
    ("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", "ice-lite"),
    ("a=sendrecv", "a=recvonly", "recvonly"),
])
def test_an_offer_that_leads_nowhere_is_refused_by_name(written, instead, reason, peer):
    assert written in sample(CHROMIUM)

    with pytest.raises(peer.Refused, match=f"the offer is of no use: {reason}"):
        peer.Offer(sample(CHROMIUM).replace(written, instead))


@pytest.mark.parametrize("name", ["", "v=0\r\n", "m=", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "\0" * 100])
def test_what_is_no_sdp_is_refused(name, peer):
    with pytest.raises(peer.Refused):
        peer.Offer(name)


def test_the_check_of_rfc_5769_is_authentic_under_its_password_alone(peer):
    check = peer.Check(REQUEST)

    assert (check.ours, check.theirs) == ("evtj", "h6vY")
    assert check.is_authentic(PASSWORD)
    assert not check.is_authentic(PASSWORD + "x")
    assert not check.nominates()


@pytest.mark.parametrize("source, response", [
    ("192.0.2.1:32853", "00200008 0001a147e112a643"),
    ("[2001:db8:1234:5678:11:2233:4455:6677]:32853", "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"),
])
def test_the_mapped_addresses_are_those_of_rfc_5769(source, response, peer):
    success = peer.Check(REQUEST).success(source, PASSWORD)

    wanted = bytes.fromhex(response)
    assert success[20 : 20 + len(wanted)] == wanted
    assert success[:20] == b"\x01\x01" + (len(wanted) + 32).to_bytes(2, "big") + REQUEST[4:20]
    assert len(success) == 20 + len(wanted) + 32


def test_no_cut_and_no_changed_byte_makes_another_check(peer):
    for end in range(len(REQUEST)):
        with pytest.raises(ValueError):
            peer.Check(REQUEST[:end])
    for at in range(len(REQUEST)):
        with pytest.raises(ValueError):
            peer.Check(REQUEST[:at] + bytes([REQUEST[at] ^ 0x40]) + REQUEST[at + 1 :])


class Browser:
    """OpenSSL's DTLS client in memory."""

    def __init__(self, peer, profiles=b"SRTP_AES128_CM_SHA1_80"):
        self.certificate = peer.Certificate()
        context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        context.use_privatekey(self.certificate.key)
        context.use_certificate(self.certificate.certificate)
        if profiles:
            context.set_tlsext_use_srtp(profiles)
        self.connection = SSL.Connection(context)
        self.connection.set_connect_state()

    def answer(self, datagrams):
        """What it sends when these have come."""
        for datagram in datagrams:
            self.connection.bio_write(datagram)
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            pass
        return self.flight()

    def flight(self):
        try:
            return [self.connection.bio_read(65536)]
        except SSL.WantReadError:
            return []


def shake_hands(dtls, browser, datagrams=()):
    """Until both have nothing more to say; the keys."""
    keys = None
    while flight := browser.answer(datagrams):
        for datagram in flight:
            keys = dtls.take(datagram) or keys
        datagrams = dtls.datagrams()
        assert all(len(datagram) <= 1200 for datagram in datagrams)
    return keys


@pytest.mark.parametrize("profile, name, key, salt", [
    (b"SRTP_AES128_CM_SHA1_80", "AES_CM_128_HMAC_SHA1_80", 16, 14),
    (b"SRTP_AEAD_AES_128_GCM", "AEAD_AES_128_GCM", 16, 12),
    (b"SRTP_AEAD_AES_256_GCM", "AEAD_AES_256_GCM", 32, 12),
])
def test_both_ends_have_the_same_keys_the_right_way_round(profile, name, key, salt, peer):
    browser = Browser(peer, profile)
    dtls = peer.Dtls(peer.Certificate(), [browser.certificate.fingerprint])

    security = shake_hands(dtls, browser)

    assert (security["kind"], security["profile"]) == ("srtp", name)
    exported = browser.connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
    receive, send = (peer.base64.b64decode(security[way]) for way in ("receive", "send"))
    assert receive[:key] + send[:key] + receive[key:] + send[key:] == exported
    assert dtls.timeout_s() is None


def test_a_certificate_that_the_offer_did_not_name_ends_the_handshake(peer):
    dtls = peer.Dtls(peer.Certificate(), [peer.Certificate().fingerprint])
    browser = Browser(peer)

    with pytest.raises(peer.Ended, match="not the one whose fingerprint"):
        shake_hands(dtls, browser)

    with pytest.raises(SSL.Error, match="alert"):
        browser.answer(dtls.datagrams())


def test_a_client_without_srtp_gets_no_keys(peer):
    browser = Browser(peer, profiles=None)
    dtls = peer.Dtls(peer.Certificate(), [browser.certificate.fingerprint])

    with pytest.raises(peer.Ended, match="SRTP"):
        shake_hands(dtls, browser)


def test_a_lost_flight_is_sent_again_when_its_time_has_come(peer):
    browser = Browser(peer)
    dtls = peer.Dtls(peer.Certificate(), [browser.certificate.fingerprint])
    for datagram in browser.answer([]):
        dtls.take(datagram)
    lost = dtls.datagrams()
    assert lost and 0 < dtls.timeout_s() <= 1

    deadline = time.monotonic() + 5
    while not (again := dtls.datagrams()):
        assert time.monotonic() < deadline
        time.sleep(dtls.timeout_s())
        dtls.repeat()

    assert shake_hands(dtls, browser, again)["kind"] == "srtp"


def test_a_good_bye_is_heard(peer):
    browser = Browser(peer)
    dtls = peer.Dtls(peer.Certificate(), [browser.certificate.fingerprint])
    shake_hands(dtls, browser)
    browser.connection.shutdown()

    with pytest.raises(peer.Ended, match="good-bye"):
        for datagram in browser.flight():
            dtls.take(datagram)


def test_chromiums_hello_is_answered_once_both_its_records_have_come(peer):
    dtls = peer.Dtls(peer.Certificate(), ["sha-256 00"])
    first, second = ((SAMPLES / f"chromium-client-hello-{number}.bin").read_bytes() for number in (1, 2))

    assert dtls.take(first) is None and dtls.datagrams() == []
    assert dtls.take(second) is None and dtls.datagrams()


@pytest.mark.parametrize("datagram", [
    b"\x16",
    b"\x16\xfe\xfd" + bytes(8) + b"\0\xc8" + bytes(20),
    b"\x16\xfe\xfd\0\1" + bytes(6) + b"\0\xc8" + bytes(200),
    b"\x3f" * 60,
], ids=["one byte", "cut", "of the next epoch", "of DTLS 1.3"])
def test_garbage_does_not_disturb_a_handshake(datagram, peer):
    browser = Browser(peer)
    dtls = peer.Dtls(peer.Certificate(), [browser.certificate.fingerprint])
    assert dtls.take(datagram) is None

    assert shake_hands(dtls, browser)["kind"] == "srtp"
    assert dtls.take(datagram) is None
