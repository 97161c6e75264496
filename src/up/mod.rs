//! `linecard up`: both processes from one command. It starts `linecard media` and `linecard signal`
//! as children, starts either again when it dies, and ends them with itself. What the configuration
//! leaves out for a first try it invents: a user when no file is given, a trunk that answers when
//! none is configured.

pub mod child;
mod plan;
mod trunk;

use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use tracing::warn;

use self::child::{Child, Role};
use self::plan::Plan;
use self::trunk::TestTrunk;
use crate::base::fault::Fault;
use crate::config::Machine;

/// From start to the first answer on the https port; beyond it the address is printed all the same.
const READY_TIME_MAX: Duration = Duration::from_secs(15);
/// Between looks at whether the port answers.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// Runs until SIGINT or SIGTERM, or until a child cannot start.
pub fn run(file: Option<&Path>) -> Result<(), Fault> {
    // One thread: PR_SET_PDEATHSIG follows the thread that started the child.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system_fault)?
        .block_on(supervise(file))
}

async fn supervise(file: Option<&Path>) -> Result<(), Fault> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system_fault)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system_fault)?;
    let machine = Machine::here();
    let mut plan = Plan::read(file, &machine)?;
    if plan.config().trunks.is_empty() {
        let trunk = TestTrunk::bind(plan.config().signal.sip.ip()).await?;
        plan.add_test_trunk(trunk.address(), &machine)?;
        tokio::spawn(trunk.serve());
    }
    let path = plan.path()?;
    let program = std::env::current_exe().map_err(system_fault)?;

    let mut media = Child::new(Role::Media, &program, &path);
    let mut signaling = Child::new(Role::Signal, &program, &path);
    let ended = tokio::select! {
        fault = media.run() => Err(fault),
        fault = signaling.run() => Err(fault),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        () = announce(&plan) => Ok(()),
    };
    // Signaling first: it may still want to say goodbye through media.
    signaling.end().await;
    media.end().await;
    ended
}

/// Prints the address once it answers; never returns.
async fn announce(plan: &Plan) {
    let address = plan.page_address();
    let until = Instant::now() + READY_TIME_MAX;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > until {
            warn!(%address, "the https port does not answer yet");
            break;
        }
        sleep(READY_INTERVAL).await;
    }
    println!("{}", plan.welcome());
    std::future::pending().await
}

fn system_fault(error: std::io::Error) -> Fault {
    Fault::new(error, "start of linecard up", "check this user's limits (ulimit -a)")
}
