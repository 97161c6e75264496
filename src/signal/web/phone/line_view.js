// What getStats says about a call, as figures a person can read, once a second.

const HISTORY_MAX = 60;

/** Reads a connection's statistics and keeps what is needed for rates and for the last minute. */
export class LineView {
  #connection;
  #before = null;
  history = { roundTrip: [], loss: [] };

  constructor(connection) {
    this.#connection = connection;
  }

  /**
   * One reading: `heard` and `said` with `codec`, `kbps`, `packets`, `lost`, `lossPercent` (of the
   * last second) and `jitterMs`; `roundTripMs`; `security`. Unknown figures are undefined.
   */
  async read() {
    const all = [...(await this.#connection.getStats()).values()];
    const one = (type, test = () => true) => all.find((entry) => entry.type === type && test(entry));
    const audio = (entry) => entry.kind === "audio";
    const inbound = one("inbound-rtp", audio);
    const outbound = one("outbound-rtp", audio);
    const remote = one("remote-inbound-rtp", audio);
    const transport = one("transport");
    const pair = one("candidate-pair", ({ id }) => id === transport?.selectedCandidatePairId)
      ?? one("candidate-pair", ({ nominated }) => nominated);
    const codec = (entry) => codecName(all.find((other) => other.id === entry?.codecId));

    const now = {
      at: performance.now(),
      heard: counts(inbound?.bytesReceived, inbound?.packetsReceived, inbound?.packetsLost),
      said: counts(outbound?.bytesSent, outbound?.packetsSent, remote?.packetsLost),
    };
    const before = this.#before ?? now;
    this.#before = now;
    const seconds = (now.at - before.at) / 1000;
    const side = (name, codec, jitter) => {
      const [current, last] = [now[name], before[name]];
      const lost = Math.max(0, current.lost - last.lost);
      const packets = current.packets - last.packets;
      return {
        codec,
        kbps: seconds > 0 ? ((current.bytes - last.bytes) * 8) / 1000 / seconds : undefined,
        packets: current.packets,
        lost: Math.max(0, current.lost),
        lossPercent: packets > 0 ? Math.min(100, (100 * lost) / (packets + (name === "heard" ? lost : 0))) : 0,
        jitterMs: jitter === undefined ? undefined : jitter * 1000,
      };
    };
    const roundTrip = remote?.roundTripTime ?? pair?.currentRoundTripTime;
    const reading = {
      heard: side("heard", codec(inbound), inbound?.jitter),
      said: side("said", codec(outbound), remote?.jitter),
      roundTripMs: roundTrip === undefined ? undefined : roundTrip * 1000,
      security: securityName(transport),
    };
    if (seconds > 0) {
      this.#remember("roundTrip", reading.roundTripMs ?? 0);
      this.#remember("loss", Math.max(reading.heard.lossPercent, reading.said.lossPercent));
    }
    return reading;
  }

  #remember(name, value) {
    this.history[name].push(value);
    if (this.history[name].length > HISTORY_MAX) this.history[name].shift();
  }
}

function counts(bytes = 0, packets = 0, lost = 0) {
  return { bytes, packets, lost };
}

function codecName(codec) {
  if (!codec) return undefined;
  const name = codec.mimeType.replace(/^audio\//i, "");
  return /^opus$/i.test(name) ? "Opus" : name;
}

function securityName(transport) {
  if (!transport?.srtpCipher) return undefined;
  const version = { FEFD: "DTLS 1.2", FEFC: "DTLS 1.3" }[transport.tlsVersion?.toUpperCase()] ?? "DTLS";
  return `${version} · ${transport.srtpCipher}`;
}

/** Draws the last minute as a filled line, newest at the right. */
export function drawHistory(canvas, values, top) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  if (values.length < 2) return;
  const scale = Math.max(top, ...values) * 1.15;
  const x = (i) => width - ((values.length - 1 - i) * width) / (HISTORY_MAX - 1);
  const y = (value) => height - ratio - (value / scale) * (height - 2 * ratio);
  const line = new Path2D();
  values.forEach((value, i) => line.lineTo(x(i), y(value)));
  const area = new Path2D(line);
  area.lineTo(width, height);
  area.lineTo(x(0), height);
  const colour = getComputedStyle(canvas).color;
  pen.fillStyle = pen.strokeStyle = colour;
  pen.globalAlpha = 0.16;
  pen.fill(area);
  pen.globalAlpha = 1;
  pen.lineWidth = 1.5 * ratio;
  pen.lineJoin = "round";
  pen.stroke(line);
}
