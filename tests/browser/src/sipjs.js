// The test phone over SIP.js (its core classes, not the SessionManager).

import {
  Inviter,
  Registerer,
  RegistererState,
  SessionState,
  UserAgent,
  UserAgentState,
} from 'sip.js';
import { MICROPHONE, Phone, onlyCodecs, withoutEventClock } from './phone.js';

class SipJsPhone extends Phone {
  async register({ wss, user, domain, password, ice = {} }) {
    await this.ear.open();
    this.domain = domain;
    this.ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${user}@${domain}`),
      authorizationUsername: user,
      authorizationPassword: password,
      transportOptions: { server: wss },
      logBuiltinEnabled: false,
      sessionDescriptionHandlerFactoryOptions: {
        peerConnectionConfiguration: ice,
        iceGatheringTimeout: 2000,
      },
      delegate: {
        onConnect: () => this.note('connected'),
        onDisconnect: () => this.note('disconnected'),
        onInvite: (invitation) => {
          this.adopt(invitation);
          this.note('ringing', {
            caller: invitation.remoteIdentity.uri.user,
            called: invitation.request.ruri.user,
            sdp: invitation.body,
          });
        },
      },
    });
    this.note('starting');
    await this.ua.start();
    this.registerer = new Registerer(this.ua);
    this.registerer.stateChange.addListener((state) => {
      if (state === RegistererState.Registered) this.note('registered');
      if (state === RegistererState.Unregistered) this.note('unregistered');
    });
    await this.registerer.register({
      requestDelegate: {
        onReject: ({ message }) =>
          this.note('registration-failed', { status: message.statusCode }),
      },
    });
  }

  adopt(session) {
    this.session = session;
    this.sessions.push(session);
    session.delegate = {
      onSessionDescriptionHandler: (handler) => this.watch(handler.peerConnection),
      onBye: (bye) => {
        this.byeFromPeer = bye.request.getHeader('Reason') ?? null;
        bye.accept();
      },
      onCancel: (cancel) => {
        this.note('cancelled', { reason: cancel.request?.getHeader('Reason') });
      },
      onInfo: (info) => {
        const digit = /Signal\s*=\s*(\S)/i.exec(info.request.body)?.[1];
        this.note('digit', { by: 'remote', digit });
        info.accept();
      },
    };
    session.stateChange.addListener((state) => {
      if (state === SessionState.Established) {
        this.note('confirmed');
      }
      if (state === SessionState.Terminated) {
        const by = this.byeFromPeer === undefined ? 'local' : 'remote';
        this.note('ended', { by, reason: this.byeFromPeer });
      }
    });
  }

  async call(target, { shaping = {} } = {}) {
    const inviter = new Inviter(this.ua, UserAgent.makeURI(target), {
      earlyMedia: true,
      sessionDescriptionHandlerOptions: { constraints: { audio: MICROPHONE, video: false } },
      sessionDescriptionHandlerModifiers: [
        async (description) => ({ type: description.type, sdp: this.shape(description.sdp, shaping) }),
      ],
    });
    this.adopt(inviter);
    this.note('sending');
    await inviter.invite({
      requestDelegate: {
        onProgress: ({ message }) =>
          this.note('progress', { status: message.statusCode, has_sdp: Boolean(message.body) }),
        onAccept: () => this.note('accepted'),
        onReject: ({ message }) =>
          this.note('failed', {
            status: message.statusCode,
            reason: message.getHeader('Reason'),
          }),
      },
    });
  }

  shape(sdp, { without_event_clock_hz, only_codecs }) {
    if (without_event_clock_hz) sdp = withoutEventClock(sdp, without_event_clock_hz);
    if (only_codecs) sdp = onlyCodecs(sdp, only_codecs);
    return sdp;
  }

  answer() {
    this.session.accept({
      sessionDescriptionHandlerOptions: { constraints: { audio: MICROPHONE, video: false } },
    });
  }

  decline(status) {
    this.session.reject({ statusCode: status });
  }

  hangUp() {
    if (this.session.state === SessionState.Established) this.session.bye();
    else this.session.cancel();
  }

  hold() {
    this.reInvite({ hold: true }, 'held');
  }

  resume() {
    this.reInvite({ hold: false }, 'resumed');
  }

  restartIce() {
    this.reInvite({ offerOptions: { iceRestart: true } }, 'restarted');
  }

  reInvite(options, name) {
    this.session.sessionDescriptionHandlerOptionsReInvite = options;
    this.session.invite({
      requestDelegate: {
        onAccept: () => this.note(name),
        onReject: ({ message }) => this.note('change-refused', { status: message.statusCode }),
      },
    });
  }

  // Without a target: joins the far ends of its first and its last call.
  transfer(target) {
    const [session] = this.sessions;
    session.refer(target ? UserAgent.makeURI(target) : this.session, {
      onNotify: (notification) => {
        const status = Number(/^SIP\/2.0 (\d+)/.exec(notification.request.body)[1]);
        const name = status < 180 ? 'trying' : status < 200 ? 'progress' : status < 300 ? 'accepted' : 'failed';
        notification.accept();
        this.note('transfer', { outcome: name, status });
      },
      requestDelegate: {
        onReject: ({ message }) => this.note('transfer', { outcome: 'refused', status: message.statusCode }),
      },
    });
  }

  sendInfo(digits) {
    for (const digit of digits) {
      this.session.info({
        requestOptions: {
          body: {
            contentDisposition: 'render',
            contentType: 'application/dtmf-relay',
            content: `Signal=${digit}\r\nDuration=2000`,
          },
        },
      });
    }
  }

  async close() {
    if (this.ua?.state === UserAgentState.Started) await this.ua.stop();
  }
}

globalThis.phone = new SipJsPhone();
