"""Speech to say, and ears to judge what was heard.

Samples are float64 arrays in -1..1 with their rate beside them. Everything is generated at test
time by espeak-ng; nothing recorded is stored in the project.
"""

import functools
import subprocess
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pesq

NARROWBAND_HZ = 8000
BROWSER_HZ = 48000

# From this likeness on (0..1) a stretch of a recording is what was said: another voice reaches 0.45,
# the same one through codecs and a jitter buffer 0.9.
ALIKE = 0.6

# Two voices, so that a side that hears itself is noticed.
SENTENCES = {
    "browser": ("en-gb", "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background."),
    "trunk": ("en-us", "Four hours of steady work faced us. The boy was there when the sun rose."),
}


def resample(samples, from_hz, to_hz):
    """Band-limited, by the spectrum: exact for the rates used here."""
    if from_hz == to_hz or not len(samples):
        return samples
    count = round(len(samples) * to_hz / from_hz)
    spectrum = np.fft.rfft(samples)
    wanted = count // 2 + 1
    resized = np.zeros(wanted, complex)
    kept = min(wanted, len(spectrum))
    resized[:kept] = spectrum[:kept]
    return np.fft.irfft(resized, count) * (count / len(samples))


@functools.cache
def speech(speaker, rate_hz):
    """One group of sentences with its pauses, 25 dB below full scale and telephone bandwidth."""
    voice, text = SENTENCES[speaker]
    spoken = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", "150", "--stdout", text],
        check=True, capture_output=True, timeout=20,
    ).stdout
    spoken_hz = int.from_bytes(spoken[24:28], "little")
    samples = np.frombuffer(spoken[44:], "<i2").astype(float) / 32768
    samples = resample(samples, spoken_hz, NARROWBAND_HZ)
    samples = band_limit(samples, NARROWBAND_HZ, 200, 3600)
    samples *= 10 ** (-25 / 20) / active_level(samples)
    pause = np.zeros(NARROWBAND_HZ // 2)
    samples = np.concatenate([pause, samples, pause])
    return resample(samples, NARROWBAND_HZ, rate_hz)


def hum(rate_hz, seconds, pitch_hz):
    """A steady sound with some harmonics: every hole in it is a fault."""
    time = np.arange(int(rate_hz * seconds)) / rate_hz
    return 0.08 * sum(np.sin(2 * np.pi * pitch_hz * k * time) / k for k in (1, 2, 3))


def band_limit(samples, rate_hz, low_hz, high_hz):
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    spectrum[(frequency < low_hz) | (frequency > high_hz)] = 0
    return np.fft.irfft(spectrum, len(samples))


def active_level(samples):
    """Root mean square where somebody speaks."""
    levels = frame_levels(samples, 160)
    return np.sqrt(np.mean(levels[levels > levels.max() / 30] ** 2))


def frame_levels(samples, frame):
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    return np.sqrt(np.mean(frames**2, axis=1) + 1e-18)


def write_wav(path, samples, rate_hz):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return Path(path)


def read_wav(path):
    """Mono samples; reads what is there of a file whose writer has not closed it yet."""
    content = Path(path).read_bytes()
    rate_hz = int.from_bytes(content[24:28], "little")
    start = content.index(b"data") + 8
    body = content[start:]
    return np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(float) / 32768, rate_hz


def to_g711(samples):
    """µ-law codes (ITU-T G.711) of samples at 8 kHz."""
    linear = np.clip(np.round(samples * 8192), -8158, 8158).astype(int)
    biased = np.abs(linear) + 33
    segment = np.floor(np.log2(biased)).astype(int) - 5
    step = (biased >> segment + 1) & 15
    return (~(np.where(linear < 0, 128, 0) | segment << 4 | step) & 255).astype(np.uint8).tobytes()


def from_g711(codes):
    """Samples of µ-law codes (ITU-T G.711)."""
    inverted = ~np.frombuffer(codes, np.uint8)
    magnitude = (((inverted & 15).astype(int) * 2 + 33) << (inverted >> 4 & 7)) - 33
    return np.where(inverted & 128, -magnitude, magnitude) / 8192


@dataclass
class Score:
    """PESQ-NB of each complete copy of the reference that was found."""

    copies: list[float]
    ceiling: float

    @property
    def median(self):
        return float(np.median(self.copies))

    def __str__(self):
        copies = " ".join(f"{score:.2f}" for score in self.copies)
        return f"{self.median:.2f} (ceiling {self.ceiling:.2f}, copies {copies})"


def score(speaker, recording, rate_hz):
    """Finds every complete copy of the speaker's looped group in a recording and scores each."""
    reference = speech(speaker, NARROWBAND_HZ)
    heard = resample(recording, rate_hz, NARROWBAND_HZ)
    copies = [
        pesq.pesq(NARROWBAND_HZ, reference, heard[start : start + len(reference)], "nb")
        for start in find_copies(reference, heard)
    ]
    assert copies, f"no copy of the {speaker}'s speech in {len(heard) / NARROWBAND_HZ:.1f} s of recording"
    # What no telephone call can be better than.
    ceiling = pesq.pesq(NARROWBAND_HZ, reference, from_g711(to_g711(reference)), "nb")
    return Score(copies, ceiling)


def find_copies(reference, heard):
    """Starts of the complete copies, by correlation."""
    if len(heard) < len(reference):
        return []
    # An equal copy correlates with the reference's energy; gain and codec leave far more than half.
    energy = np.sum(reference**2)
    starts = []
    rest = np.abs(correlate(reference, heard))
    while rest.max(initial=0) > 0.4 * energy:
        start = int(rest.argmax())
        starts.append(start)
        rest[max(0, start - len(reference) * 3 // 4) : start + len(reference) * 3 // 4] = 0
    return sorted(starts)


def hears(speaker, recording, rate_hz):
    """Whether the speaker's voice is in a recording, if only in part: a second of it is enough."""
    heard = resample(recording, rate_hz, NARROWBAND_HZ)
    return best_piece(speech(speaker, NARROWBAND_HZ), heard) > ALIKE


def best_piece(reference, heard, piece_seconds=0.8):
    """The best match of any piece of the reference in which somebody speaks."""
    piece = int(piece_seconds * NARROWBAND_HZ)
    starts = range(0, len(reference) - piece + 1, piece)
    pieces = (reference[start : start + piece] for start in starts)
    spoken = [part for part in pieces if np.sum(part**2) > 0.25]
    return max(match(part, heard)[0] for part in spoken)


def match(part, heard):
    """How alike a sound and the most similar stretch of a recording are, 0..1, and where that is."""
    if len(heard) < len(part):
        return 0.0, 0
    power = np.concatenate([[0], np.cumsum(heard**2)])
    strength = np.sqrt(np.maximum(power[len(part) :] - power[: -len(part)], 1e-6))
    alike = correlate(part, heard) / (strength * np.sqrt(np.sum(part**2)))
    at = int(np.argmax(alike))
    return float(alike[at]), at


def correlate(part, heard):
    """The correlation with `part` at every place where it fits wholly into `heard`."""
    size = len(heard) + len(part)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(part, size))
    return np.fft.irfft(spectrum, size)[: len(heard) - len(part) + 1]


def longest_hole_ms(recording, rate_hz, threshold=0.02):
    """The longest stretch below the threshold, in steps of 5 ms, once the sound has begun."""
    levels = frame_levels(recording, rate_hz // 200)
    loud = np.flatnonzero(levels > threshold)
    assert len(loud), "nothing but silence was heard"
    inside = levels[loud[0] : loud[-1] + 1] <= threshold
    longest = run = 0
    for quiet in inside:
        run = run + 1 if quiet else 0
        longest = max(longest, run)
    return longest * 5


LOW_HZ = [697, 770, 852, 941]
HIGH_HZ = [1209, 1336, 1477, 1633]
KEYS = ["123A", "456B", "789C", "*0#D"]


def digits_heard(recording, rate_hz):
    """The DTMF tones (ITU-T Q.23) in a recording, each at least 40 ms long."""
    frame = rate_hz // 50
    digits, previous, run = "", None, 0
    time = np.arange(frame) / rate_hz
    tones = {hz: np.exp(-2j * np.pi * hz * time) for hz in LOW_HZ + HIGH_HZ}
    for start in range(0, len(recording) - frame, frame // 2):
        piece = recording[start : start + frame]
        energy = np.sum(piece**2) * frame / 2 + 1e-9
        share = {hz: abs(np.sum(piece * tone)) ** 2 / energy for hz, tone in tones.items()}
        low = max(LOW_HZ, key=share.get)
        high = max(HIGH_HZ, key=share.get)
        loud = energy > frame**2 / 2 * 1e-4
        key = None
        if loud and share[low] + share[high] > 0.8 and min(share[low], share[high]) > 0.1:
            key = KEYS[LOW_HZ.index(low)][HIGH_HZ.index(high)]
        run = run + 1 if key == previous else 1
        if key and run == 3:
            digits += key
        previous = key
    return digits
