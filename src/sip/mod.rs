//! SIP engines, all sans-IO: transactions (RFC 3261 §17, RFC 6026), dialogs (§12), digest
//! authentication (RFC 7616), and the tables between SIP statuses and Q.850 causes (RFC 3398).
//! Messages themselves are [`crate::wire::sip`].

pub mod cause;
pub mod dialog;
pub mod digest;
pub mod transaction;
