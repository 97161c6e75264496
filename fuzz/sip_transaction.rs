//! Any sequence of SIP messages to the transaction layer, separated by zero bytes and from a browser
//! and a trunk in turn, every request answered: nothing is kept once the timers have run.

use std::time::Instant;

use linecard::base::random::from_seed;
use linecard::sip::transaction::{Flow, Output, Transactions};
use linecard::wire::sip::{Host, Response, SentBy, Status};

/// Every transaction ends after at most a dozen timers; more means that one starts another for ever.
const TIMEOUTS_MAX: usize = 10_000;

/// One input.
pub fn run(input: &[u8]) {
    let sent_by = SentBy { host: Host::V4([192, 0, 2, 1].into()), port: Some(5060) };
    let mut transactions = Transactions::new(sent_by.clone(), sent_by, &mut from_seed(1));
    let mut now = Instant::now();
    let flows = [Flow::Web(1), Flow::Udp(([198, 51, 100, 1], 5060).into())];
    for (message, flow) in input.split(|byte| *byte == 0).zip(flows.into_iter().cycle()) {
        transactions.receive_bytes(message, flow, now);
        while let Some(output) = transactions.poll_output() {
            if let Output::Request { transaction, request, .. } = output {
                let status = if message.len() % 2 == 0 { Status::OK } else { Status::BUSY_HERE };
                transactions.respond(transaction, Response::to(&request, status), now);
            }
        }
    }
    for _ in 0..TIMEOUTS_MAX {
        let Some(due) = transactions.next_timeout() else { break };
        now = now.max(due);
        transactions.handle_timeout(now);
        while transactions.poll_output().is_some() {}
    }
    assert!(transactions.is_empty(), "a transaction outlived its timers");
}
