// One call: a SIP dialog (RFC 3261 §12–15) and an RTCPeerConnection. In protocol order: offer, ring,
// early media, answer, talk, end. What a person sees of it is in phone.js.

import { SUPPORTED_METHODS, SipMessage, nameOf, tagOf, token, uriOf } from "./sip_message.js";

// No ICE servers: linecard is ICE-lite with an address of its own, so host candidates suffice.
const PEER_CONNECTION = { iceServers: [], bundlePolicy: "max-bundle" };

// RFC 4733 events: what every trunk understands, and a gap that separates two of the same digit.
const TONE_MS = 100;
const TONE_GAP_MS = 70;

// What a person is told about a final status.
const WORDS = {
  400: "The call was not understood",
  401: "The password is wrong",
  403: "This call is not allowed",
  404: "There is no such number",
  407: "The password is wrong",
  408: "No answer from the network",
  410: "The number is no longer in use",
  480: "Not available at the moment",
  482: "The call went in a circle",
  484: "The number is not complete",
  486: "Busy",
  487: "Cancelled",
  488: "No common way to carry the sound",
  500: "The network has a fault",
  501: "The network cannot do that",
  502: "The network has a fault",
  503: "The network is overloaded or not there; try again shortly",
  504: "No answer from the network",
  600: "Busy everywhere",
  603: "Declined",
  604: "There is no such number",
};

// The same by Q.850 cause, for a call that had been connected.
const CAUSES = { 38: "The network lost the call", 41: "The network lost the call", 102: "The other side was lost" };

/**
 * Events: `change` whenever `state` or `text` did; `track` with the remote MediaStream as detail.
 * States: `calling`, `ringing`, `early`, `incoming`, `answering`, `talking`, `ended`.
 */
export class Call extends EventTarget {
  #agent;
  #localTag = token(10);
  #local;
  #remote;
  #target;
  #routes = [];
  #cseq = 0;
  #invite = null;
  #exchange = null;
  #cancelled = false;
  #proceeding = false;
  #answered = null;

  static outgoing(agent, number, stream) {
    const call = new Call(agent, `${token(24)}`, number);
    call.state = "calling";
    call.text = "Calling…";
    call.#target = `sip:${encodeURIComponent(number).replace(/%2B/gi, "+")}@${agent.domain}`;
    call.#local = `<${agent.aor}>`;
    call.#remote = `<${call.#target}>`;
    call.#dial(stream).catch((error) => call.#end(String(error.message ?? error)));
    return call;
  }

  static incoming(agent, invite) {
    const call = new Call(agent, invite.first("Call-ID"), nameOf(invite.first("From")));
    call.state = "incoming";
    call.text = "Incoming call";
    call.#invite = invite;
    call.#local = invite.first("To");
    call.#remote = invite.first("From");
    call.#target = uriOf(invite.first("Contact") ?? "");
    call.#routes = invite.all("Record-Route");
    call.#reply(180, "Ringing");
    return call;
  }

  constructor(agent, callId, peer) {
    super();
    this.#agent = agent;
    Object.assign(this, { callId, peer, talkingSince: null, stream: null, connection: null });
  }

  get isEnded() {
    return this.state === "ended";
  }

  // Outgoing

  async #dial(stream) {
    const connection = this.#open(stream);
    await connection.setLocalDescription(await connection.createOffer());
    const sdp = connection.localDescription.sdp;
    if (this.isEnded) return;
    this.#exchange = this.#agent.authenticated(() => this.#request("INVITE", ++this.#cseq)
      .add("Contact", this.#agent.contact)
      .add("Allow", SUPPORTED_METHODS)
      .add("Supported", "outbound")
      .withBody("application/sdp", sdp), (response) => this.#progress(response));
    const response = await this.#exchange.final;
    if (response.status >= 300) return this.#end(this.#cancelled ? "Cancelled" : words(response));
    this.#confirm(response);
    this.#send(this.#request("ACK", this.#exchange.sent.cseq.number));
    if (this.#cancelled) return this.#bye("Cancelled");
    try {
      await this.#apply(response.body);
    } catch {
      return this.#bye(WORDS[488], 488);
    }
    this.#talk();
  }

  async #progress(response) {
    this.#proceeding = true;
    if (this.#cancelled) return this.#sendCancel();
    if (response.status === 100 || this.isEnded) return;
    if (!response.body) return this.#change(this.state === "early" ? "early" : "ringing", "Ringing…");
    try {
      await this.#apply(response.body);
    } catch {
      return;
    }
    if (["calling", "ringing"].includes(this.state)) this.#change("early", "Ringing…");
  }

  /** Takes the dialog's other end from a 2xx (RFC 3261 §12.1.2). */
  #confirm(response) {
    this.#remote = response.first("To");
    this.#target = uriOf(response.first("Contact") ?? this.#target);
    this.#routes = response.all("Record-Route").reverse();
  }

  /** Applies an answer, once: the 200 repeats that of the 183. */
  #apply(sdp) {
    if (sdp) this.#answered ??= this.connection.setRemoteDescription({ type: "answer", sdp });
    return this.#answered ?? Promise.reject(new Error("no answer"));
  }

  // Incoming

  /** Answers with the microphone's `stream`. */
  async answer(stream) {
    // The caller may have gone while the person was asked for the microphone.
    if (this.state !== "incoming") return stream.getTracks().forEach((track) => track.stop());
    this.#change("answering", "Connecting…");
    try {
      const connection = this.#open(stream);
      await connection.setRemoteDescription({ type: "offer", sdp: this.#invite.body });
      await connection.setLocalDescription(await connection.createAnswer());
    } catch {
      if (!this.isEnded) this.#reply(488, "Not Acceptable Here");
      return this.#end(WORDS[488]);
    }
    if (this.isEnded) return;
    this.#reply(200, "OK", this.connection.localDescription.sdp);
    this.#talk();
  }

  #reply(status, phrase, sdp) {
    const response = SipMessage.response(this.#invite, status, phrase, this.#localTag)
      .add("Contact", this.#agent.contact);
    if (sdp) response.add("Allow", SUPPORTED_METHODS).withBody("application/sdp", sdp);
    this.#send(response);
  }

  // Talking

  #open(stream) {
    const connection = new RTCPeerConnection(PEER_CONNECTION);
    this.connection = connection;
    this.stream = stream;
    for (const track of stream.getAudioTracks()) connection.addTrack(track, stream);
    connection.ontrack = ({ streams, track }) => {
      const detail = streams[0] ?? new MediaStream([track]);
      this.dispatchEvent(new CustomEvent("track", { detail }));
    };
    connection.onconnectionstatechange = () => {
      if (this.isEnded) return;
      const { connectionState } = connection;
      if (this.state !== "talking") {
        if (connectionState === "failed") this.hangUp();
      } else if (connectionState === "failed") {
        this.#bye("The sound's path was lost");
      } else {
        this.#change("talking", connectionState === "disconnected" ? "The path is interrupted…" : "Connected");
      }
    };
    return connection;
  }

  #talk() {
    this.talkingSince = performance.now();
    this.#change("talking", "Connected");
  }

  /** Sends one digit as RFC 4733 events. False while there is nobody to hear it. */
  sendDigit(digit) {
    const sender = this.connection?.getSenders().find(({ dtmf }) => dtmf)?.dtmf;
    if (!sender?.canInsertDTMF) return false;
    sender.insertDTMF(sender.toneBuffer + digit, TONE_MS, TONE_GAP_MS);
    return true;
  }

  setMuted(muted) {
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !muted;
  }

  // The end

  /** Hangs up, cancels or declines, whichever the state asks for. */
  hangUp() {
    if (this.isEnded) return;
    if (this.state === "incoming" || this.state === "answering") {
      this.#reply(603, "Decline");
      this.#end("Declined");
    } else if (this.state === "talking") {
      this.#bye("You hung up");
    } else {
      this.#cancelled = true;
      if (!this.#exchange) return this.#end("Cancelled");
      // Before a provisional response it waits for one (RFC 3261 §9.1).
      if (this.#proceeding) this.#sendCancel();
      this.#change(this.state, "Cancelling…");
    }
  }

  #sendCancel() {
    const invite = this.#exchange.sent;
    if (invite.isCancelled) return;
    invite.isCancelled = true;
    const cancel = SipMessage.request("CANCEL", invite.uri).add("Via", invite.first("Via")).add("Max-Forwards", 70);
    for (const name of ["From", "To", "Call-ID"]) cancel.add(name, invite.first(name));
    cancel.add("CSeq", `${invite.cseq.number} CANCEL`);
    // Not as a transaction: its branch is the INVITE's, whose final response is what matters.
    this.#send(cancel);
  }

  #bye(text, status) {
    const build = () => {
      const bye = this.#request("BYE", ++this.#cseq);
      return status ? bye.add("Reason", `SIP;cause=${status}`) : bye;
    };
    this.#agent.authenticated(build);
    this.#end(text);
  }

  #end(text) {
    if (this.isEnded) return;
    this.connection?.close();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.#change("ended", text);
    // Kept for a while to answer what still comes.
    setTimeout(() => this.#agent.calls.delete(this.callId), 32000);
  }

  // Messages

  /** A request of this dialog. */
  receive(request) {
    const answer = (status, phrase) => this.#send(SipMessage.response(request, status, phrase, this.#localTag));
    switch (request.method) {
      case "ACK":
        return;
      case "BYE":
        answer(200, "OK");
        return this.#end(reasonWords(request) ?? "The other side hung up");
      case "CANCEL":
        answer(200, "OK");
        if (this.state === "incoming" || this.state === "answering") {
          this.#reply(487, "Request Terminated");
          this.#end("Missed: the caller hung up");
        }
        return;
      case "INVITE":
        // One offer a call; what it asks for is not this phone's.
        if (request.cseq.number !== this.#invite?.cseq.number) answer(488, "Not Acceptable Here");
        return;
      case "OPTIONS":
        return answer(200, "OK");
      default:
        return answer(501, "Not Implemented");
    }
  }

  #request(method, cseq) {
    const from = tagOf(this.#local) ? this.#local : `${this.#local};tag=${this.#localTag}`;
    const request = this.#agent.prepare(method, this.#target)
      .add("From", from)
      .add("To", this.#remote)
      .add("Call-ID", this.callId)
      .add("CSeq", `${cseq} ${method}`);
    for (const route of this.#routes) request.add("Route", route);
    return request;
  }

  #send(message) {
    this.#agent.deliver(message);
  }

  #change(state, text) {
    Object.assign(this, { state, text });
    this.dispatchEvent(new Event("change"));
  }
}

function words(response) {
  const text = WORDS[response.status] ?? WORDS[Math.floor(response.status / 100) * 100] ?? response.phrase;
  return `${text} (${response.status})`;
}

/** Why a connected call was ended, when that is more than a hang-up (RFC 3326). */
function reasonWords(request) {
  const cause = /Q\.850\s*;\s*cause=(\d+)/i.exec(request.all("Reason").join(","))?.[1];
  return CAUSES[cause] ?? null;
}
