// SIP messages (RFC 3261 §7): text to values and back, one message a WebSocket message (RFC 7118).

// RFC 3261 §7.3.3.
const COMPACT = { v: "via", f: "from", t: "to", i: "call-id", m: "contact", l: "content-length", c: "content-type" };

export const SUPPORTED_METHODS = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/** A request (`method`, `uri`) or a response (`status`, `phrase`). Headers keep their order. */
export class SipMessage {
  static request(method, uri) {
    return Object.assign(new SipMessage(), { method, uri });
  }

  /** A response that carries what RFC 3261 §8.2.6.2 has it copy; `tag` completes To. */
  static response(request, status, phrase, tag) {
    const response = Object.assign(new SipMessage(), { status, phrase });
    for (const name of ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"]) {
      for (let value of request.all(name)) {
        if (name === "To" && tag && !tagOf(value)) value += `;tag=${tag}`;
        response.add(name, value);
      }
    }
    return response;
  }

  /** Reads a message; null when it is none. */
  static parse(text) {
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return null;
    const [start, ...lines] = text.slice(0, end).replace(/\r\n[ \t]+/g, " ").split("\r\n");
    const message = new SipMessage();
    const response = /^SIP\/2\.0 (\d{3}) ?(.*)$/.exec(start);
    const request = /^([A-Z]+) (\S+) SIP\/2\.0$/.exec(start);
    if (response) Object.assign(message, { status: Number(response[1]), phrase: response[2] });
    else if (request) Object.assign(message, { method: request[1], uri: request[2] });
    else return null;
    for (const line of lines) {
      const colon = line.indexOf(":");
      if (colon > 0) message.add(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
    }
    message.body = text.slice(end + 4);
    return message.isComplete() ? message : null;
  }

  constructor() {
    this.headers = [];
    this.body = "";
  }

  add(name, value) {
    this.headers.push([name, String(value)]);
    return this;
  }

  withBody(type, body) {
    this.body = body;
    return this.add("Content-Type", type);
  }

  /** All values of a header, one a line. */
  all(name) {
    const wanted = name.toLowerCase();
    const full = (key) => COMPACT[key.toLowerCase()] ?? key.toLowerCase();
    return this.headers.filter(([key]) => full(key) === wanted).map(([, value]) => value);
  }

  first(name) {
    return this.all(name)[0];
  }

  /** The number and the method of CSeq. */
  get cseq() {
    const [number, method] = (this.first("CSeq") ?? "").split(/\s+/);
    return { number: Number(number), method };
  }

  /** The branch of the topmost Via. */
  get branch() {
    return /;\s*branch=([^;,\s]+)/i.exec(this.first("Via") ?? "")?.[1];
  }

  isComplete() {
    return ["Via", "From", "To", "Call-ID", "CSeq"].every((name) => this.first(name) !== undefined);
  }

  toString() {
    const start = this.method ? `${this.method} ${this.uri} SIP/2.0` : `SIP/2.0 ${this.status} ${this.phrase}`;
    const length = new TextEncoder().encode(this.body).length;
    const headers = [...this.headers, ["Content-Length", length]].map(([name, value]) => `${name}: ${value}\r\n`);
    return `${start}\r\n${headers.join("")}\r\n${this.body}`;
  }
}

/** The tag parameter of a From or To value. */
export function tagOf(value) {
  return /;\s*tag=([^;\s]+)/i.exec(value.replace(/<[^>]*>/, ""))?.[1];
}

/** The URI of a From, To, Contact, Route or Record-Route value. */
export function uriOf(value) {
  return /<([^>]*)>/.exec(value)?.[1] ?? value.split(";")[0].trim();
}

/** The user part of a URI, or the whole URI when it has none. */
export function userOf(uri) {
  return decodeURIComponent(/^sips?:([^@;]+)@/i.exec(uri)?.[1] ?? uri);
}

/** Whoever a From or To value names, as a person would say it. */
export function nameOf(value) {
  return /^\s*"([^"]+)"/.exec(value)?.[1] ?? userOf(uriOf(value));
}

/** `length` random characters that every SIP token may hold. */
export function token(length) {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join("");
}
