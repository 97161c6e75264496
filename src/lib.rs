//! linecard: the board between browsers and the telephone network.
//!
//! A line card is the board in a telephone switch where a subscriber's line meets the network, codec
//! included. This one is for browsers: WebRTC (SRTP keyed by DTLS, Opus, ICE) on the line side, SIP
//! trunks and G.711 on the other. It promises that whatever happens to the process that signals, the
//! audio goes on; that a lost packet leaves no hole and a stall no delay; that a core which is full
//! says so before a call suffers; and that bad input is counted and changes nothing.
//!
//! # The processes
//!
//! ```text
//!  browser ──WSS (SIP, RFC 7118)──►┌────────────────────────────┐◄──SIP/UDP──► trunks
//!                                  │ signal                     │
//!                                  │ B2BUA · SDP · ICE · DTLS   │  HTTPS: phone page
//!                                  └─────────────┬──────────────┘
//!                      Unix socket: commands ▼   ▲ events, punted STUN and DTLS
//!                                  ┌─────────────┴──────────────┐
//!  browser ◄──UDP: STUN/DTLS/SRTP─►│ media                      │◄──UDP: RTP/RTCP──► trunks
//!    one port a core               │ one thread a core          │    a port pair a call
//!                                  │ io_uring · SRTP · Opus ⇄   │
//!                                  │ G.711 · repair · RTCP      │
//!                                  └────────────────────────────┘
//! ```
//!
//! What recurs during a call lives in [`media`]; what happens once lives in [`signal`]. Each is the
//! other's memory: signaling parks a record of every call in media, and finds its calls there after
//! it was killed.
//!
//! # A datagram's way
//!
//! ```text
//!  ring ─► thread: whose is it? ─┬─► line: authenticate ─► parse ─► recognise ─► order
//!                                │         ─► place ─► decode ─► assemble ─► encode ─► protect ─► send
//!                                ├─► punt: STUN and DTLS, to signaling
//!                                └─► discard: with a reason, one counter each
//! ```
//!
//! # The floors
//!
//! Imports go downward only, and [`media`] and [`signal`] never import each other.
//!
//! | floor | what it knows |
//! |---|---|
//! | [`media`] · [`signal`] | the two processes; read [`media::line`] and [`signal::call`] first, [`media::core`] for the engine around the line, [`media::registry`] for its commands |
//! | [`config`], [`up`] | what the operator wrote; both processes and a test trunk under one command |
//! | [`os`] | the ring (the only io_uring file), sockets, wake-ups, the scheduler's account, directories |
//! | [`control`] | the contract between the processes; its page is `src/control/README.md` |
//! | [`ice`] · [`dtls`] · [`sip`] | engines that take time and bytes and give bytes and events |
//! | [`audio`] | G.711, Opus and its ladder of settings, repair of gaps, playout, noise, telephone events |
//! | [`srtp`] | keys, packet index, replay window, protection |
//! | [`wire`] | bytes ⇄ values, one RFC a file, no state |
//! | [`base`] | clock, randomness, timers, discard reasons, faults: knows no protocol |
//!
//! Every engine is sans-IO, media's core and registry among them: `handle(input, now)`, `poll_output()`,
//! `next_timeout()`, so that a test is the engine and a virtual clock. [`media::rig`] is a whole media
//! process so. Sockets, clocks and system randomness are in the loops: `media::thread`,
//! [`media::front::socket`], [`signal::process`](signal), and the floor [`os`].
//!
//! # Glossary
//!
//! - **call**: two legs and the streams between them. **leg**: one side of a call: a transport, its
//!   protection, a format. **stream**: one direction between two legs.
//! - **trunk**: a SIP carrier. **flow**: one WebSocket connection of a browser.
//! - **punt**: hand a datagram to signaling. **discard**: end a datagram unsent, with a reason.
//!   **refuse**: turn a request down, with a SIP status and a Q.850 cause, or a control error code.
//!   **fault**: what stops a process from starting, in words for its operator.
//! - **consent**: a browser's authentic ICE check, which permits us to go on sending (RFC 7675).
//! - **position**: 8 kHz samples since a stream began; it only ever grows.
#![cfg_attr(not(test), warn(unreachable_pub))]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "a wrong number fails its test"
    )
)]
#![warn(clippy::tests_outside_test_module)]

pub mod audio;
pub mod base;
pub mod config;
pub mod control;
pub mod dtls;
pub mod ice;
pub mod media;
pub mod os;
pub mod signal;
pub mod sip;
pub mod srtp;
pub mod up;
pub mod wire;
