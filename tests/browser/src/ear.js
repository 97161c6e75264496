// What the page hears and says: one AudioContext, recording the remote stream as 16-bit PCM at
// 48 kHz. The recording starts with the remote track and never stops, so positions in it are time.

const RATE_HZ = 48000;

const RECORDER = `
registerProcessor('recorder', class extends AudioWorkletProcessor {
  process([input]) {
    this.port.postMessage(input[0] ? input[0].slice() : new Float32Array(128));
    return true;
  }
});`;

export class Ear {
  constructor() {
    this.blocks = [];
    this.startedAt = null;
  }

  async open() {
    this.context = new AudioContext({ sampleRate: RATE_HZ });
    const url = URL.createObjectURL(new Blob([RECORDER], { type: 'text/javascript' }));
    await this.context.audioWorklet.addModule(url);
  }

  // Chromium feeds WebAudio from a remote stream only while a media element plays it too.
  listen(stream) {
    const element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    element.play();
    const recorder = new AudioWorkletNode(this.context, 'recorder', {
      channelCount: 1,
      channelCountMode: 'explicit',
    });
    recorder.port.onmessage = ({ data: block }) => {
      this.startedAt ??= performance.now();
      this.blocks.push(block);
    };
    this.context.createMediaStreamSource(stream).connect(recorder);
    this.element = element;
    this.recorder = recorder;
  }

  // Little-endian 16-bit samples in base64, in one string.
  recording() {
    const samples = new Int16Array(this.blocks.length * 128);
    this.blocks.forEach((block, index) => {
      for (let i = 0; i < block.length; i++) {
        samples[index * 128 + i] = Math.max(-1, Math.min(1, block[i])) * 32767;
      }
    });
    const bytes = new Uint8Array(samples.buffer);
    let text = '';
    for (let i = 0; i < bytes.length; i += 32768) {
      text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    }
    return btoa(text);
  }
}
