//! The signaling process: everything of a call that happens once.
//!
//! Read [`call`] first: the call line, from the INVITE to the record. Around it, outermost first:
//!
//! | file | what it is |
//! |---|---|
//! | `process`, [`control_connection`], [`web`] | sockets, tasks and clock; they know no protocol |
//! | [`engine`], `admission`, [`turned_away`], [`output`] | takes what comes in: who is it, whose is it, who is nobody; and what goes out |
//! | [`calls`] | all calls, found by what they share and by when they are due ([`index`], [`deadlines`]) |
//! | [`call`], [`stage`] | one call, stage by stage |
//! | `connecting`, `in_call`, `tones`, `lasting`, [`negotiation`], [`session_timer`] | the same call from its answer on: keys, changes, what is played, whose turn it is, signs of life |
//! | [`invite`], [`reliable`], [`attempts`], [`attempt`] | its SIP until then: what the caller was told, who is asked |
//! | [`leg`], [`played`], [`peer`], [`browser`], [`trunk`], [`media_leg`] | its two legs and their media: SDP, ICE, DTLS |
//! | [`privacy`] | who a caller is shown as |
//! | [`exchange`] | what calls share: [`routing`], [`trunk_health`], [`registrar`], [`directory`], [`control_client`] |
//! | [`release`], [`records`], [`media_log`], [`blob`], [`recovery`] | why it ended, what is written down and logged, how it is picked up again |
//!
//! The engine is sans-IO: a test drives it with scripted peers under a virtual clock. When this
//! process dies its calls go on in the media process, which holds each call's record for the next
//! one.

mod admission;
pub mod attempt;
pub mod attempts;
pub mod blob;
pub mod browser;
pub mod call;
pub mod calls;
mod connecting;
pub mod control_client;
pub mod control_connection;
pub mod deadlines;
pub mod digit;
pub mod directory;
pub mod engine;
pub mod errand;
pub mod exchange;
pub mod flow;
mod in_call;
pub mod index;
pub mod invitation;
pub mod invite;
mod joining;
mod lasting;
pub mod leg;
pub mod media_leg;
pub mod media_log;
pub mod music;
pub mod negotiation;
pub mod output;
pub mod peer;
pub mod played;
pub mod privacy;
mod process;
pub mod records;
pub mod recovery;
pub mod refer;
pub mod registrar;
pub mod release;
pub mod reliable;
pub mod routing;
pub mod session_timer;
pub mod stage;
#[cfg(test)]
mod tests;
mod tones;
mod transfer;
pub mod transferring;
pub mod trunk;
pub mod trunk_health;
pub mod turned_away;
pub mod web;

pub use process::run;
