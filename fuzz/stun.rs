//! Any STUN datagram, straight to an ICE agent and once more with its integrity and fingerprint made
//! good: the agent answers or discards, and what it answers is STUN that verifies.

use std::net::SocketAddr;
use std::time::Instant;

use linecard::base::random::from_seed;
use linecard::ice::agent::Agent;
use linecard::ice::credentials::{Credentials, local_ufrag_of};
use linecard::wire::stun::{
    BindingRequest, Message, RESPONSE_BYTES_MAX, Role, TransactionId, write_binding_request,
};

/// One input.
pub fn run(datagram: &[u8]) {
    let mut random = from_seed(1);
    let local = Credentials::generate(&mut random);
    let key = local.password.expose().as_bytes();
    let mut agent = Agent::new(local.clone());
    let from = SocketAddr::from(([192, 0, 2, 1], 4000));
    let mut out = [0; RESPONSE_BYTES_MAX];

    let _ = local_ufrag_of(datagram);
    assert!(
        agent.handle(datagram, from, Instant::now(), &mut random, &mut out).is_err(),
        "a forged check"
    );

    let Ok(message) = Message::parse(datagram) else { return };
    let _ = message.verify_integrity(key);
    let username = String::from_utf8_lossy(message.username.unwrap_or_default());
    let username = format!("{}:{username}", local.ufrag);
    let request = BindingRequest {
        transaction_id: message.transaction_id,
        username: &username,
        priority: message.priority.unwrap_or(1),
        role: message.role.unwrap_or(Role::Controlling(1)),
        use_candidate: message.use_candidate,
    };
    let mut check = [0; 1024];
    let Some(length) = write_binding_request(&mut check, &request, key) else { return };
    let outcome = agent
        .handle(&check[..length], from, Instant::now(), &mut random, &mut out)
        .expect("an authentic check is answered");
    let answer = Message::parse(&out[..outcome.length]).expect("an answer is STUN");
    assert_eq!(answer.verify_integrity(key), Ok(()));
    assert_eq!(answer.transaction_id, TransactionId(message.transaction_id.0));
}
