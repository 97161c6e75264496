//! A media thread: network ─► core ─► network, with a clock and the scheduler's account. The loop is:
//! arrivals → packet line → timers → everything that is to leave submitted together.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::channel::CoreEnd;
use super::core::{Core, CoreParts};
use crate::audio::opus::{EncoderSettings, OpusArena, PACKET_SAMPLES_MAX};
use crate::audio::synthetic::speech;
use crate::base::clock::WallAnchor;
use crate::base::random;
use crate::os::account::{SchedulerAccount, thread_cpu};
use crate::os::network::{Arrival, Network};
use crate::os::outbox::SLOT_BYTES;
use crate::os::sockets::BoundSocket;

/// Arrivals between submissions within one batch: it bounds what the first has to wait for the last.
const BATCH: usize = 8;
/// The thread last looked at the clock longer ago than this: it did not run. It wakes four times
/// that often, see [`super::budget::WINDOW`].
const PAUSE: Duration = Duration::from_secs(1);
/// Frames of 20 ms that a new thread codes to know what a call costs.
const TRIAL_FRAMES: u32 = 50;

/// One media thread.
pub(super) struct Thread<N> {
    core: Core,
    network: N,
    control: CoreEnd,
    account: SchedulerAccount,
    /// When the thread last looked at the clock.
    looked_at: Instant,
}

impl<N: Network> Thread<N> {
    /// A thread on its network, with its bound browser socket. To be made on the thread that runs it.
    pub(super) fn new(
        mut network: N,
        control: CoreEnd,
        browsers: BoundSocket,
        codecs: TimedCodecs,
    ) -> io::Result<Self> {
        let TimedCodecs { calls, codecs, codec_time } = codecs;
        let now = Instant::now();
        let parts = CoreParts {
            thread: control.thread,
            calls,
            browsers,
            codec_time,
            codecs,
            gauge: control.gauge.clone(),
            wall: WallAnchor::now(),
            random: random::from_system(),
        };
        let core = Core::new(parts, &mut network, now)?;
        let account = SchedulerAccount::open()?;
        Ok(Self { core, network, control, account, looked_at: Instant::now() })
    }

    /// Runs until the network fails.
    pub(super) fn run(mut self) -> io::Error {
        loop {
            if let Err(error) = self.turn() {
                return error;
            }
        }
    }

    /// One turn of the loop.
    fn turn(&mut self) -> io::Result<()> {
        let window = self.core.next_window(self.looked_at);
        let until = self.core.next_timeout().map_or(window, |at| at.min(window));
        self.network.wait(self.core.outbox(), until)?;
        let mut now = self.look()?;
        let mut handled = 0;
        while let Some(arrival) = self.network.next_arrival() {
            match arrival {
                Arrival::Datagram(datagram) => self.core.handle_datagram(datagram, now),
                Arrival::Wake => self.commands(now),
            }
            handled += 1;
            if handled % BATCH == 0 {
                self.tell();
                self.network.send(self.core.outbox())?;
                now = self.look()?;
            }
        }
        self.core.handle_timeout(now);
        if self.core.next_window(now) <= now {
            self.core.observe(self.account.read()?, now);
        }
        self.tell();
        Ok(())
    }

    /// Looks at the clock. A pause is met here, wherever in its turn it stopped the thread: a busy one
    /// seldom waits.
    fn look(&mut self) -> io::Result<Instant> {
        let pause = self.looked_at.elapsed();
        if pause > PAUSE {
            self.resume(pause);
        }
        self.looked_at = Instant::now();
        Ok(self.looked_at)
    }

    /// What arrived in a pause is old, see [`Core::handle_pause`]; what was commanded is not.
    fn resume(&mut self, pause: Duration) {
        let mut stale = 0;
        let mut is_commanded = false;
        while let Some(arrival) = self.network.next_arrival() {
            match arrival {
                Arrival::Datagram(_) => stale += 1,
                Arrival::Wake => is_commanded = true,
            }
        }
        stale += self.network.discard_waiting();
        let now = Instant::now();
        self.core.handle_pause(pause, stale, now);
        if is_commanded {
            self.commands(now);
        }
    }

    /// What waits in the command queue, in order.
    fn commands(&mut self, now: Instant) {
        while let Some((token, command)) = self.control.next_command() {
            let reply = self.core.handle_command(command, &mut self.network, now);
            self.control.reply(token, reply);
        }
    }

    /// Passes the core's events on.
    fn tell(&mut self) {
        while let Some(event) = self.core.poll_event() {
            if !self.control.tell(event) {
                self.core.event_lost();
            }
        }
    }
}

/// Codec states of so many calls, and what one takes here.
pub(super) struct TimedCodecs {
    calls: usize,
    codecs: Rc<OpusArena>,
    codec_time: Duration,
}

impl TimedCodecs {
    /// To be made on the core that they are for.
    pub(super) fn new(calls: usize) -> io::Result<Self> {
        let codecs = OpusArena::new(calls)?;
        let codec_time = time_codec(&codecs);
        Ok(Self { calls, codecs, codec_time })
    }
}

/// How long one second of one call takes the codec on this core, both directions.
fn time_codec(codecs: &Rc<OpusArena>) -> Duration {
    const SAMPLES: usize = 160;
    let (Ok(mut encoder), Ok(mut decoder)) =
        (codecs.encoder(EncoderSettings::default()), codecs.decoder())
    else {
        return Duration::ZERO; // An arena for no call: none will ask.
    };
    let pcm = speech(TRIAL_FRAMES as usize * SAMPLES);
    let (mut packet, mut out) = ([0; SLOT_BYTES], [0; PACKET_SAMPLES_MAX]);
    let before = thread_cpu();
    for frame in pcm.chunks_exact(SAMPLES) {
        let coded = encoder.encode(frame, &mut packet).unwrap_or_default();
        // A frame that was just encoded decodes; what it sounds like is of no interest.
        let _ = decoder.decode(&packet[..coded], &mut out);
    }
    thread_cpu().saturating_sub(before)
}
