// One phone for the tests, whichever library is under it. A library's adapter (jssip.js, sipjs.js)
// calls `note` for what happens; the tests wait for these notes by name.

import { Ear } from './ear.js';

import { watchFrames } from './frames.js';

// The fake microphone's speech must arrive as it is: no processing on its way.
export const MICROPHONE = {
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
};

export class Phone {
  constructor() {
    this.notes = [];
    this.waiting = [];
    this.ear = new Ear();
    this.connection = null;
    this.sessions = [];
    this.frames = [];
  }

  note(name, facts = {}) {
    this.notes.push({ name, at_ms: performance.now(), ...facts });
    this.waiting.forEach((check) => check());
  }

  // Resolves with the first note of one of these names at or after position `from`.
  waitFor(names, timeout_ms, from = 0) {
    return new Promise((resolve, reject) => {
      const find = () => this.notes.findIndex((n, i) => i >= from && names.includes(n.name));
      const finish = (settle, value) => {
        this.waiting = this.waiting.filter((other) => other !== check);
        clearTimeout(timer);
        settle(value);
      };
      const check = () => {
        const position = find();
        if (position >= 0) finish(resolve, { ...this.notes[position], position });
      };
      const timer = setTimeout(() => {
        const seen = JSON.stringify(this.notes);
        finish(reject, new Error(`no ${names.join('/')} in ${timeout_ms} ms; seen: ${seen}`));
      }, timeout_ms);
      this.waiting.push(check);
      check();
    });
  }

  // Follows the call's RTCPeerConnection from its making.
  watch(connection) {
    this.connection = connection;
    for (const name of ['createOffer', 'createAnswer']) {
      const original = connection[name];
      connection[name] = (...options) => {
        this.prepare(connection);
        return original.apply(connection, options);
      };
    }
    connection.addEventListener('track', ({ track, streams, receiver }) => {
      if (track.kind !== 'audio') return;
      this.ear.listen(streams[0] ?? new MediaStream([track]));
      const poll = setInterval(() => {
        if (receiver.getSynchronizationSources().length > 0) {
          this.note('audio-arrives');
          clearInterval(poll);
        } else if (connection.connectionState === 'closed') {
          clearInterval(poll);
        }
      }, 2);
    });
    connection.addEventListener('connectionstatechange', () => {
      this.note(`media-${connection.connectionState}`);
    });
  }

  // For a browser that has no fake microphone of its own: a WAV file in base64 is what every
  // microphone of this page says from here on, in a loop.
  async speak(wav) {
    const context = new AudioContext({ sampleRate: 48000 });
    await context.resume();
    const bytes = Uint8Array.from(atob(wav), (character) => character.charCodeAt(0));
    const speech = context.createBufferSource();
    speech.buffer = await context.decodeAudioData(bytes.buffer);
    speech.loop = true;
    speech.start();
    navigator.mediaDevices.getUserMedia = async () => {
      const microphone = context.createMediaStreamDestination();
      speech.connect(microphone);
      return microphone.stream;
    };
  }

  forgetFrames() {
    this.frames.length = 0;
  }

  // What a page can ask of the connection before it writes its SDP.
  prepare(connection) {
    const { prefer_red, watch_frames } = this.shaping ?? {};
    const audio = connection.getTransceivers().find((t) => t.receiver.track.kind === 'audio');
    if (prefer_red) {
      const { codecs } = RTCRtpReceiver.getCapabilities('audio');
      const isRed = ({ mimeType }) => mimeType.toLowerCase() === 'audio/red';
      audio.setCodecPreferences([...codecs.filter(isRed), ...codecs.filter((c) => !isRed(c))]);
    }
    if (watch_frames && !audio.sender.transform) watchFrames(audio.sender, this.frames);
  }

  async stats() {
    const report = {};
    (await this.connection.getStats()).forEach((entry) => {
      report[entry.id] = entry;
    });
    return report;
  }

  // RFC 4733 through the browser's own sender.
  sendEvents(digits, duration_ms = 100, gap_ms = 80) {
    const sender = this.connection.getSenders().find((s) => s.track?.kind === 'audio');
    sender.dtmf.insertDTMF(digits, duration_ms, gap_ms);
  }

  recording() {
    return this.ear.recording();
  }
}

// Sends what the gateway receives at `from` to another port.
export function elsewhere(sdp, { from, to }) {
  return sdp.replaceAll(` ${from} `, ` ${to} `);
}

// Strips an SDP's payload type for telephone-event at `clock_hz`: what is left is what a browser
// with only the other clock would say (Firefox has no 48 kHz one).
export function withoutEventClock(sdp, clock_hz) {
  const found = sdp.match(new RegExp(`a=rtpmap:(\\d+) telephone-event/${clock_hz}`));
  if (!found) return sdp;
  const payloadType = found[1];
  return sdp
    .split('\r\n')
    .filter((line) => !new RegExp(`^a=(rtpmap|fmtp|rtcp-fb):${payloadType} `).test(line))
    .map((line) =>
      line.startsWith('m=audio')
        ? line.split(' ').filter((word, i) => i < 3 || word !== payloadType).join(' ')
        : line,
    )
    .join('\r\n');
}

// Keeps these audio codecs only (an m= line with none of ours left is "no common codec").
export function onlyCodecs(sdp, names) {
  const keep = new Set();
  for (const [, payloadType, name] of sdp.matchAll(/a=rtpmap:(\d+) ([^/\r\n]+)/g)) {
    if (names.includes(name)) keep.add(payloadType);
  }
  return sdp
    .split('\r\n')
    .filter((line) => {
      const found = line.match(/^a=(?:rtpmap|fmtp|rtcp-fb):(\d+) /);
      return !found || keep.has(found[1]);
    })
    .map((line) =>
      line.startsWith('m=audio')
        ? line.split(' ').filter((word, i) => i < 3 || keep.has(word)).join(' ')
        : line,
    )
    .join('\r\n');
}
