// Sound beside the call: level meters, the tones a caller expects, and key clicks.

const FLOOR_DB = -60;
// A meter falls slower than speech does, so that it can be read.
const FALL_DB_PER_S = 40;
// Ringing as in most of Europe (ITU-T E.180 supplement 2): 425 Hz, one second in five.
const RINGBACK = { frequencies: [425], on: 1, period: 5, volume: 0.06 };
const RING = { frequencies: [740, 880], on: 0.8, period: 3, volume: 0.08 };
const DTMF = { rows: [697, 770, 852, 941], columns: [1209, 1336, 1477], keys: "123456789*0#" };

let context = null;

/** The one AudioContext; browsers let it run once the person has clicked something. */
export function audioContext() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume().catch(() => {});
  return context;
}

/** Measures a MediaStream; `level()` is its loudness in dB relative to full scale, -60 to 0. */
export class Meter {
  #analyser;
  #source;
  #samples;
  #shown = FLOOR_DB;
  #at = performance.now();

  constructor(stream) {
    const audio = audioContext();
    this.#analyser = new AnalyserNode(audio, { fftSize: 1024 });
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = audio.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  level() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    const now = performance.now();
    const fallen = this.#shown - (FALL_DB_PER_S * (now - this.#at)) / 1000;
    this.#at = now;
    this.#shown = Math.min(0, Math.max(FLOOR_DB, fallen, 10 * Math.log10(power || 1e-9)));
    return this.#shown;
  }

  close() {
    this.#source.disconnect();
  }
}

/** A dB level as a share of the meter's length, 0 to 1. */
export function share(level) {
  return 1 - level / FLOOR_DB;
}

function play(frequencies, volume, seconds) {
  const audio = audioContext();
  const gain = new GainNode(audio, { gain: volume });
  gain.connect(audio.destination);
  const end = audio.currentTime + seconds;
  gain.gain.setValueAtTime(volume, end - 0.01);
  gain.gain.linearRampToValueAtTime(0, end);
  for (const frequency of frequencies) {
    const oscillator = new OscillatorNode(audio, { frequency });
    oscillator.connect(gain);
    oscillator.start();
    oscillator.stop(end);
  }
  return gain;
}

/** The key's own tone, short and quiet, for the person who pressed it. */
export function click(key) {
  const place = DTMF.keys.indexOf(key);
  if (place >= 0) play([DTMF.rows[Math.floor(place / 3)], DTMF.columns[place % 3]], 0.03, 0.12);
}

/** A tone that repeats until it is stopped: `ringback` or `ring`. */
export class Cadence {
  #timer = null;
  #tone = null;
  #gain = null;

  /** Plays `name`, or nothing for null; the same name again changes nothing. */
  set(name) {
    if (name === this.#tone) return;
    this.#tone = name;
    clearInterval(this.#timer);
    this.#gain?.disconnect();
    if (!name) return;
    const { frequencies, on, period, volume } = { ringback: RINGBACK, ring: RING }[name];
    const once = () => { this.#gain = play(frequencies, volume, on); };
    once();
    this.#timer = setInterval(once, period * 1000);
  }
}
