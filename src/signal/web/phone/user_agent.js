// The user agent: keeps one WebSocket and one registration up (RFC 7118, RFC 3261 §10), runs
// transactions (§17; the transport is reliable, so nothing is sent twice) and answers digest
// challenges (RFC 7616). Calls are in call.js.

import { md5 } from "./md5.js";
import { SUPPORTED_METHODS, SipMessage, token } from "./sip_message.js";
import { Call } from "./call.js";

const EXPIRES_S = 600;
// Refreshed when this share of the granted time is over.
const REFRESH_SHARE = 0.5;
const RECONNECT_MS = { first: 1000, last: 30000 };
// RFC 5626 §3.5.1: a double CRLF is sent and answered by one.
const KEEP_ALIVE_MS = { interval: 25000, answer: 10000 };
// Timers B and F (RFC 3261 §17.1).
const TRANSACTION_MS = 32000;

/**
 * Events: `registration` with detail `{ state, text }`, where state is `offline`, `connecting`,
 * `registering`, `registered` or `refused`; `call` with a ringing incoming `Call` as detail.
 */
export class UserAgent extends EventTarget {
  #socket = null;
  #stopped = true;
  #failures = 0;
  #timers = {};
  #transactions = new Map();
  #challenge = null;
  #registration = { callId: token(20), tag: token(10), cseq: 0 };

  constructor({ url, domain, user, password }) {
    super();
    Object.assign(this, { url, domain, user, password });
    this.aor = `sip:${encodeURIComponent(user)}@${domain}`;
    // RFC 7118 §5: nobody can connect to a browser, so the host is invalid on purpose.
    this.host = `${token(12)}.invalid`;
    this.contact = `<sip:${token(8)}@${this.host};transport=ws>`;
    this.calls = new Map();
  }

  start() {
    this.#stopped = false;
    this.#connect();
  }

  /** Unregisters and closes. */
  async stop() {
    this.#stopped = true;
    clearTimeout(this.#timers.reconnect);
    clearTimeout(this.#timers.refresh);
    if (this.isConnected) await this.#sendRegister(0);
    this.#socket?.close();
    this.#state("offline", "Not registered");
  }

  get isConnected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Starts a call with the microphone's `stream`. */
  call(number, stream) {
    const call = Call.outgoing(this, number, stream);
    this.calls.set(call.callId, call);
    return call;
  }

  // Connection

  #connect() {
    this.#state("connecting", "Connecting…");
    const socket = new WebSocket(this.url, "sip");
    this.#socket = socket;
    socket.onopen = () => {
      this.#failures = 0;
      this.#keepAlive();
      this.#register();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#lost(socket);
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    clearTimeout(this.#timers.refresh);
    clearTimeout(this.#timers.keepAlive);
    clearTimeout(this.#timers.keepAliveAnswer);
    // What waits for an answer will get none (RFC 3261 §8.1.3.1).
    for (const transaction of [...this.#transactions.values()]) transaction.fail(503, "Connection lost");
    if (this.#stopped) return;
    const pause = Math.min(RECONNECT_MS.first * 2 ** this.#failures++, RECONNECT_MS.last) * (0.5 + Math.random() / 2);
    this.#state("offline", `No connection; next try in ${Math.ceil(pause / 1000)} s`);
    this.#timers.reconnect = setTimeout(() => this.#connect(), pause);
  }

  #keepAlive() {
    this.#timers.keepAlive = setTimeout(() => {
      if (!this.isConnected) return;
      this.#socket.send("\r\n\r\n");
      const socket = this.#socket;
      this.#timers.keepAliveAnswer = setTimeout(() => {
        socket.close();
        this.#lost(socket);
      }, KEEP_ALIVE_MS.answer);
      this.#keepAlive();
    }, KEEP_ALIVE_MS.interval);
  }

  async #receive(data) {
    clearTimeout(this.#timers.keepAliveAnswer);
    const text = typeof data === "string" ? data : await data.text();
    const message = SipMessage.parse(text);
    if (!message) return;
    if (message.status) this.#transactions.get(message.branch)?.respond(message);
    else this.#serve(message);
  }

  #state(state, text) {
    this.dispatchEvent(new CustomEvent("registration", { detail: { state, text } }));
  }

  // Registration

  async #register() {
    this.#state("registering", "Registering…");
    const response = await this.#sendRegister(EXPIRES_S);
    if (this.#stopped || !this.isConnected) return;
    if (response.status === 200) {
      const own = response.all("Contact").find((contact) => contact.includes(this.host)) ?? "";
      const granted = Number(/;\s*expires=(\d+)/i.exec(own)?.[1] ?? response.first("Expires") ?? EXPIRES_S);
      this.#timers.refresh = setTimeout(() => this.#register(), granted * 1000 * REFRESH_SHARE);
      this.#state("registered", `Registered as ${this.user}`);
    } else if ([401, 403, 404, 407].includes(response.status)) {
      this.#stopped = true;
      this.#socket.close();
      this.#state("refused", "The user name or the password is wrong");
    } else {
      const retry = Number(response.first("Retry-After") ?? 30);
      this.#timers.refresh = setTimeout(() => this.#register(), retry * 1000);
      this.#state("refused", `Registration failed: ${response.status} ${response.phrase}; next try in ${retry} s`);
    }
  }

  #sendRegister(expires) {
    const { callId, tag } = this.#registration;
    return this.authenticated(() => this.prepare("REGISTER", `sip:${this.domain}`)
      .add("From", `<${this.aor}>;tag=${tag}`)
      .add("To", `<${this.aor}>`)
      .add("Call-ID", callId)
      .add("CSeq", `${++this.#registration.cseq} REGISTER`)
      .add("Contact", `${this.contact};reg-id=1;+sip.instance="<urn:uuid:${instanceId()}>";expires=${expires}`)
      .add("Expires", expires)
      .add("Supported", "path, outbound")).final;
  }

  // Requests of ours

  /** A request with a Via of its own. */
  prepare(method, uri) {
    return SipMessage.request(method, uri)
      .add("Via", `SIP/2.0/WSS ${this.host};branch=z9hG4bK${token(16)}`)
      .add("Max-Forwards", 70)
      .add("User-Agent", "linecard phone");
  }

  /**
   * Sends what `build` makes, and again with credentials when they are asked for. `final` is its
   * final response; failures to deliver are a 408 or 503 made here. `sent` is the request that the
   * final response will belong to, as far as is known.
   */
  authenticated(build, onProvisional = () => {}) {
    const exchange = { sent: null, final: null };
    const attempt = () => {
      exchange.sent = build();
      if (this.#challenge) exchange.sent.add(...this.#credentials(exchange.sent));
      return this.send(exchange.sent, onProvisional);
    };
    exchange.final = (async () => {
      // Once without or with a remembered nonce, once with the nonce just given.
      let response = await attempt();
      if ([401, 407].includes(response.status) && this.#accept(response)) response = await attempt();
      return response;
    })();
    return exchange;
  }

  /** Sends a request as it is; the promise is its final response. */
  send(request, onProvisional = () => {}) {
    const { branch } = request;
    const isInvite = request.method === "INVITE";
    return new Promise((resolve) => {
      const finish = (response) => {
        clearTimeout(timer);
        // The final response of an INVITE may come again, and is acknowledged again.
        setTimeout(() => this.#transactions.delete(branch), isInvite ? TRANSACTION_MS : 0);
        resolve(response);
      };
      const fail = (status, phrase) => finish(SipMessage.response(request, status, phrase));
      const respond = (response) => {
        if (response.status >= 200) {
          if (isInvite && response.status >= 300) this.deliver(acknowledgement(request, response));
          finish(response);
        } else {
          // Once it rings, only people are waited for.
          if (isInvite) clearTimeout(timer);
          onProvisional(response);
        }
      };
      const timer = setTimeout(() => fail(408, "Request Timeout"), TRANSACTION_MS);
      this.#transactions.set(branch, { fail, respond });
      if (!this.deliver(request)) fail(503, "Connection lost");
    });
  }

  /** Puts a message on the wire; false when there is none. */
  deliver(message) {
    if (!this.isConnected) return false;
    this.#socket.send(message.toString());
    return true;
  }

  // Digest

  /** Remembers a challenge that can be answered. */
  #accept(response) {
    const name = response.status === 401 ? "WWW-Authenticate" : "Proxy-Authenticate";
    for (const value of response.all(name)) {
      const challenge = parameters(value.replace(/^Digest\s+/i, ""));
      const qop = challenge.qop === undefined || challenge.qop.split(/\s*,\s*/).includes("auth");
      if (qop && (challenge.algorithm ?? "MD5").toUpperCase() === "MD5") {
        const header = response.status === 401 ? "Authorization" : "Proxy-Authorization";
        this.#challenge = { ...challenge, header, count: 0 };
        return true;
      }
    }
    return false;
  }

  /** The header that answers the remembered challenge (RFC 7616 §3.4.1). */
  #credentials({ method, uri }) {
    const challenge = this.#challenge;
    const { realm, nonce, opaque, qop } = challenge;
    const ha1 = md5(`${this.user}:${realm}:${this.password}`);
    const ha2 = md5(`${method}:${uri}`);
    const nc = (++challenge.count).toString(16).padStart(8, "0");
    const cnonce = token(16);
    const parts = [`username="${this.user}"`, `realm="${realm}"`, `nonce="${nonce}"`, `uri="${uri}"`];
    parts.push("algorithm=MD5");
    if (qop) parts.push("qop=auth", `nc=${nc}`, `cnonce="${cnonce}"`);
    parts.push(`response="${md5(qop ? `${ha1}:${nonce}:${nc}:${cnonce}:auth:${ha2}` : `${ha1}:${nonce}:${ha2}`)}"`);
    if (opaque) parts.push(`opaque="${opaque}"`);
    return [challenge.header, `Digest ${parts.join(", ")}`];
  }

  // Requests of others

  #serve(request) {
    const call = this.calls.get(request.first("Call-ID"));
    const answer = (status, phrase) => {
      this.deliver(SipMessage.response(request, status, phrase, token(10)).add("Allow", SUPPORTED_METHODS));
    };
    if (call) call.receive(request);
    else if (request.method === "INVITE") this.#invited(request, answer);
    else if (request.method === "OPTIONS") answer(200, "OK");
    else if (["BYE", "CANCEL"].includes(request.method)) answer(481, "Call/Transaction Does Not Exist");
    else if (request.method !== "ACK") answer(501, "Not Implemented");
  }

  #invited(request, answer) {
    if (!request.body) return answer(488, "Not Acceptable Here");
    if ([...this.calls.values()].some((call) => !call.isEnded)) return answer(486, "Busy Here");
    const call = Call.incoming(this, request);
    this.calls.set(call.callId, call);
    this.dispatchEvent(new CustomEvent("call", { detail: call }));
  }
}

/** The ACK to a failure, part of its INVITE's transaction (RFC 3261 §17.1.1.3). */
function acknowledgement(invite, response) {
  return SipMessage.request("ACK", invite.uri)
    .add("Via", invite.first("Via"))
    .add("Max-Forwards", 70)
    .add("From", invite.first("From"))
    .add("To", response.first("To"))
    .add("Call-ID", invite.first("Call-ID"))
    .add("CSeq", `${invite.cseq.number} ACK`);
}

/** `name=value, name="value"` as an object. */
function parameters(text) {
  const found = {};
  for (const [, name, quoted, plain] of text.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)) {
    found[name.toLowerCase()] = quoted?.replace(/\\(.)/g, "$1") ?? plain;
  }
  return found;
}

/** The same for this browser after every reload, so that it replaces its own registration. */
function instanceId() {
  const key = "linecard-instance";
  const id = localStorage.getItem(key) ?? crypto.randomUUID();
  localStorage.setItem(key, id);
  return id;
}
