"""Peers and gateways for the tests: each fixture starts real processes and ends them by their id."""

import numpy as np
import pytest

import audio
import conformance
from baresip import Baresip
from browser import Chromium, Phone, TestPages
from coturn import Coturn
from firefox import Firefox
from gateway import Gateway
from sipp import Sipp

# What baresip plays does not loop, so it is long enough for any call of the suite.
TRUNK_SOUND_SECONDS = 150


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """WAV files: what each side says, and a steady hum for each."""
    directory = tmp_path_factory.mktemp("sounds")
    trunk = audio.speech("trunk", audio.NARROWBAND_HZ)
    copies = round(TRUNK_SOUND_SECONDS * audio.NARROWBAND_HZ / len(trunk))
    return {
        "browser": audio.write_wav(
            directory / "browser.wav", audio.speech("browser", audio.BROWSER_HZ), audio.BROWSER_HZ),
        "trunk": audio.write_wav(
            directory / "trunk.wav", np.tile(trunk, copies), audio.NARROWBAND_HZ),
        "trunk codes": write_codes(directory / "trunk.ulaw", trunk),
        "browser hum": audio.write_wav(
            directory / "browser-hum.wav", audio.hum(audio.BROWSER_HZ, 10, 300), audio.BROWSER_HZ),
        "trunk hum": audio.write_wav(
            directory / "trunk-hum.wav",
            audio.hum(audio.NARROWBAND_HZ, TRUNK_SOUND_SECONDS, 400), audio.NARROWBAND_HZ),
    }


def write_codes(path, samples):
    path.write_bytes(audio.to_g711(samples))
    return path


@pytest.fixture(scope="session")
def test_pages():
    pages = TestPages()
    yield pages
    pages.close()


@pytest.fixture(scope="session")
def chromium(sounds):
    """A browser whose user speaks."""
    browser = Chromium(sounds["browser"])
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def firefox(sounds):
    """The other browser; its user says the same."""
    browser = Firefox(sounds["browser"])
    yield browser
    browser.close()


@pytest.fixture
def humming_chromium(sounds):
    """A browser whose user hums without taking breath."""
    browser = Chromium(sounds["browser hum"])
    yield browser
    browser.close()


@pytest.fixture
def closing():
    """Closes what a test started, last first, even when closing one of them fails."""
    opened = []

    def adopt(thing):
        opened.append(thing)
        return thing

    yield adopt
    errors = []
    for thing in reversed(opened):
        try:
            thing.close()
        except Exception as error:  # the others still have to end
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def start_trunk(tmp_path, sounds, closing):
    """Starts a baresip to be the trunk's far end; +15550100 is its number."""
    def start(answer="auto", sound="trunk", name="trunk", **options):
        return closing(Baresip(
            tmp_path / name, sounds[sound], answer=answer, user="+15550100", **options))
    return start


@pytest.fixture
def start_sipp(tmp_path, closing):
    def start(scenario, name=None, **options):
        return closing(Sipp(tmp_path / (name or scenario), scenario, **options))
    return start


@pytest.fixture
def start_gateway(tmp_path, test_pages, request):
    """Starts a gateway; when the test ends it must hold no call and end when asked to."""
    started = []

    def start(*trunks, apart=True, media=None, terms=None):
        named = {f"trunk-{number}": trunk.address for number, trunk in enumerate(trunks)}
        gateway = Gateway(
            tmp_path / f"gateway-{len(started)}", named, [test_pages.origin], apart, media, terms)
        started.append(gateway)
        return gateway

    yield start
    try:
        passed = getattr(request.node, "passed", False)
        for gateway in started:
            if passed:
                gateway.assert_nothing_left()
    finally:
        for gateway in started:
            gateway.close()


OUTCOMES = pytest.StashKey[dict]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.passed = report.passed
        outcomes = item.config.stash.setdefault(OUTCOMES, {})
        outcomes.setdefault(item.originalname, []).append(report.outcome)
    return report


@pytest.fixture
def open_phone(chromium, test_pages, closing):
    """Opens a page with JsSIP or SIP.js."""
    def open_page(library="jssip", browser=None):
        browser = browser or chromium
        phone = closing(Phone(browser.open(), library))
        phone.page.go(test_pages.url(library))
        if isinstance(browser, Firefox):
            phone.do("speak", browser.speech())
        return phone
    return open_page


@pytest.fixture
def relay(tmp_path, closing):
    return closing(Coturn(tmp_path / "coturn"))


@pytest.fixture(params=["jssip", "sipjs"])
def library(request):
    """Each test that asks for it runs over JsSIP and over SIP.js."""
    return request.param


REPORT = pytest.StashKey[list]()


@pytest.fixture
def report(request):
    """Prints a line of figures after the run, whether the test passed or not."""
    lines = request.config.stash.setdefault(REPORT, [])
    return lambda line: lines.append(f"{request.node.name}: {line}")


def print_conformance(terminalreporter, config):
    """The matrix as this run saw it; a whole run that passed writes it down."""
    outcomes = config.stash.get(OUTCOMES, {})
    needed = {test for item in conformance.items() for test in item.tests if "::" not in test}
    if not needed <= outcomes.keys():
        return
    terminalreporter.section("conformance")
    verdicts = [conformance.verdict(item, outcomes) for item in conformance.items()]
    for item, verdict in zip(conformance.items(), verdicts):
        terminalreporter.write_line(f"{verdict:>22}  {item.behaviour}")
    if "FAILED" not in verdicts:
        conformance.PAGE.write_text(conformance.page(outcomes))


def pytest_terminal_summary(terminalreporter, config):
    print_conformance(terminalreporter, config)
    lines = config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
