"""The speech that is scored: voices of several languages by espeak-ng, the same bytes every time."""

import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "calls"))
import audio  # noqa: E402

RATE_HZ = audio.NARROWBAND_HZ
# Active speech level, as recordings for PESQ have it (ITU-T P.830: about -26 dB).
LEVEL_DB = -26
PAUSE_S = 0.5
# Beside the pauses at the ends of both; with speech on both sides of it PESQ scores what follows as well.
LONG_PAUSE_S = 0.5

# Name, espeak-ng voice, words a minute, text: 7 to 10 s each, men and women.
SEGMENTS = [
    ("english", "en-gb", 150, "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue "
     "background. It is easy to tell the depth of a well."),
    ("american", "en-us+f3", 150, "Four hours of steady work faced us. The boy was there when the sun rose. "
     "A rod is used to catch pink salmon."),
    ("german", "de", 150, "Guten Tag, Sie sind mit der Zentrale verbunden. Bitte haben Sie einen Augenblick "
     "Geduld, der nächste freie Platz ist für Sie reserviert."),
    ("german-f", "de+f2", 160, "Der Nordwind und die Sonne stritten sich, wer von ihnen beiden wohl der "
     "Stärkere wäre, als ein Wanderer des Weges kam."),
    ("french", "fr-fr+f4", 160, "La bise et le soleil se disputaient, chacun assurant qu'il était le plus fort, "
     "quand ils ont vu un voyageur qui s'avançait."),
    ("spanish", "es", 160, "El viento norte y el sol discutían sobre cuál de ellos era el más fuerte, cuando "
     "pasó un viajero envuelto en una ancha capa."),
    ("italian-f", "it+f1", 160, "Si bisticciavano un giorno il vento di tramontana e il sole, l'uno pretendendo "
     "d'essere più forte dell'altro."),
    ("polish", "pl", 160, "Północny wiatr i słońce spierali się, kto z nich jest silniejszy, gdy drogą szedł "
     "podróżny, otulony ciepłym płaszczem."),
]


def make(directory, names=None):
    """Writes the segments as 16-bit samples; returns their paths and samples (-1..1) by name."""
    made = {}
    for name, voice, words_a_minute, text in SEGMENTS:
        if names is None or name in names:
            samples = spoken(voice, words_a_minute, text)
            made[name] = (write(Path(directory) / f"{name}.raw", samples), samples)
    return made


def spoken(voice, words_a_minute, text):
    wave = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(words_a_minute), "--stdout", text],
        check=True, capture_output=True, timeout=60,
    ).stdout
    rate_hz = int.from_bytes(wave[24:28], "little")
    samples = np.frombuffer(wave[44 : 44 + (len(wave) - 44) // 2 * 2], "<i2") / 32768
    samples = audio.resample(samples, rate_hz, RATE_HZ)
    samples = audio.band_limit(samples, RATE_HZ, 200, 3600)
    samples *= 10 ** (LEVEL_DB / 20) / audio.active_level(samples)
    pause = np.zeros(int(PAUSE_S * RATE_HZ))
    return np.concatenate([pause, samples, pause])


def with_pauses(path, noise_db):
    """The segment twice with a pause between, in white noise: the path and its samples."""
    samples = read(path)
    samples = np.concatenate([samples, np.zeros(int(LONG_PAUSE_S * RATE_HZ)), samples])
    noise = np.random.default_rng(1).normal(0, 10 ** (noise_db / 20), len(samples))
    return write(path, samples + noise), samples + noise


def through_g711(samples):
    """What a trunk makes of speech: the best that can reach a browser."""
    return audio.from_g711(audio.to_g711(samples))


def write(path, samples):
    path.write_bytes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return path


def read(path):
    return np.fromfile(path, "<i2") / 32768
