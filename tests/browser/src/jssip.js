// The test phone over JsSIP.

import JsSIP from 'jssip';
import { MICROPHONE, Phone, elsewhere, onlyCodecs, withoutEventClock } from './phone.js';

class JsSipPhone extends Phone {
  async register({ wss, user, domain, password, ice = {} }) {
    await this.ear.open();
    this.ice = ice;
    this.ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(wss)],
      uri: `sip:${user}@${domain}`,
      password,
      register: true,
    });
    this.ua.on('connected', () => this.note('connected'));
    this.ua.on('disconnected', () => this.note('disconnected'));
    this.ua.on('registered', () => this.note('registered'));
    this.ua.on('unregistered', () => this.note('unregistered'));
    this.ua.on('registrationFailed', ({ response, cause }) =>
      this.note('registration-failed', { status: response?.status_code, cause }),
    );
    this.ua.on('newRTCSession', ({ originator, session, request }) => {
      this.adopt(session, originator, request);
    });
    this.note('starting');
    this.ua.start();
  }

  adopt(session, originator, request) {
    this.session = session;
    this.sessions.push(session);
    session.on('sending', () => this.note('sending'));
    session.on('progress', ({ response }) =>
      this.note('progress', { status: response?.status_code, has_sdp: Boolean(response?.body) }),
    );
    session.on('accepted', () => this.note('accepted'));
    session.on('confirmed', () => this.note('confirmed'));
    session.on('ended', ({ originator: by, cause, message }) =>
      this.note('ended', { by, cause, reason: message?.getHeader?.('Reason') }),
    );
    session.on('failed', ({ originator: by, cause, message }) =>
      this.note('failed', {
        by,
        cause,
        status: message?.status_code,
        reason: message?.getHeader?.('Reason'),
      }),
    );
    session.on('newDTMF', ({ originator: by, dtmf }) =>
      this.note('digit', { by, digit: dtmf.tone }),
    );
    // A caller's connection is made before its session is announced, a callee's after.
    if (session.connection) this.watch(session.connection);
    else session.on('peerconnection', ({ peerconnection }) => this.watch(peerconnection));
    session.on('sdp', (event) => {
      if (event.originator === 'local') event.sdp = this.shape(event.sdp);
      this.note('sdp', { by: event.originator, type: event.type, sdp: event.sdp });
      const { detour } = this.shaping ?? {};
      if (event.originator === 'remote' && detour) event.sdp = elsewhere(event.sdp, detour);
    });
    if (originator === 'remote') {
      this.note('ringing', {
        caller: request.from.uri.user,
        called: request.ruri.user,
        sdp: request.body,
      });
    }
  }

  // Applies what the test asked to be left out of our SDP.
  shape(sdp) {
    const { without_event_clock_hz, only_codecs } = this.shaping ?? {};
    if (without_event_clock_hz) sdp = withoutEventClock(sdp, without_event_clock_hz);
    if (only_codecs) sdp = onlyCodecs(sdp, only_codecs);
    return sdp;
  }

  call(target, { video = false, data = false, shaping = {} } = {}) {
    this.shaping = shaping;
    const options = {
      mediaConstraints: { audio: MICROPHONE, video },
      pcConfig: this.ice,
    };
    if (data) {
      options.eventHandlers = {
        peerconnection: ({ peerconnection }) => peerconnection.createDataChannel('chat'),
      };
    }
    this.ua.call(target, options);
  }

  answer({ shaping = {} } = {}) {
    this.shaping = shaping;
    this.session.answer({
      mediaConstraints: { audio: MICROPHONE, video: false },
      pcConfig: this.ice,
    });
  }

  decline(status) {
    this.session.terminate({ status_code: status });
  }

  hangUp() {
    this.session.terminate();
  }

  hold() {
    this.session.hold({}, () => this.note('held'));
  }

  resume() {
    this.session.unhold({}, () => this.note('resumed'));
  }

  restartIce() {
    this.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => this.note('restarted'));
  }

  // Without a target: joins the far ends of its first and its last call.
  transfer(target) {
    const [session] = this.sessions;
    const eventHandlers = Object.fromEntries(
      ['trying', 'progress', 'accepted', 'failed'].map((name) => [
        name,
        ({ status_line: line }) => this.note('transfer', { outcome: name, status: line?.status_code }),
      ]),
    );
    eventHandlers.requestFailed = ({ response }) =>
      this.note('transfer', { outcome: 'refused', status: response?.status_code });
    const replaces = target ? undefined : this.session;
    session.refer(target ?? replaces.remote_identity.uri, { eventHandlers, replaces });
  }

  sendInfo(digits) {
    this.session.sendDTMF(digits, { transportType: 'INFO', duration: 100, interToneGap: 500 });
  }

  close() {
    this.ua?.stop();
  }
}

globalThis.phone = new JsSipPhone();
