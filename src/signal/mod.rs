//! The signaling process.

pub mod control_client;
pub mod control_connection;
pub mod flow;
pub mod records;
pub mod registrar;
pub mod routing;
pub mod web;
