//! Control protocol, version 2: messages ⇄ lines. Bounds on a line's length are the reader's.
//!
//! A request is understood whole or refused: what was read is written again and held against what was
//! said, so that no type can overlook a member. A client reads leniently.

use serde_json::{Map, Value, json};

use super::message::{Command, ControlError, ErrorCode, Event};
use super::reading::{Misfit, overlooked, parse};

/// A request as a line. What is absent is not written.
pub fn write_request(id: u64, command: &Command) -> String {
    let arguments = without_nulls(command.arguments());
    json!({ "id": id, "command": command.name(), "arguments": arguments }).to_string()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A parsed request line.
#[derive(Debug, PartialEq)]
pub struct RequestLine {
    /// Echoed in the reply.
    pub id: u64,
    /// What is asked.
    pub command: Command,
}

/// Why a request line was refused, with the `id` to answer under when it could be read.
#[derive(Debug, PartialEq)]
pub struct BadRequest {
    /// The request's `id`, when it could be read.
    pub id: Option<u64>,
    /// The refusal.
    pub error: ControlError,
}

impl BadRequest {
    /// A refusal with its explanation.
    pub fn new(id: Option<u64>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { id, error: ControlError::new(code, message) }
    }
}

/// Reads a request line.
pub fn read_request(line: &str) -> Result<RequestLine, BadRequest> {
    let not_json = |message: &str| BadRequest::new(None, ErrorCode::BadJson, message);
    let (value, twice) = parse(line).map_err(|error| not_json(&format!("not JSON: {error}")))?;
    let Value::Object(mut envelope) = value else { return Err(not_json("not a JSON object")) };
    let id = id_of(&mut envelope, twice.as_ref())?;
    let refuse = |code, message: String| BadRequest::new(Some(id), code, message);
    let bad_request = |message: String| refuse(ErrorCode::BadRequest, message);

    let command = envelope.remove("command");
    let Some(Value::String(name)) = command else {
        return Err(bad_request("command: must be a string".to_owned()));
    };
    let arguments = envelope.remove("arguments").unwrap_or_else(|| Value::Object(Map::new()));
    if let Some(misfit) = twice {
        let within_arguments =
            misfit.place.strip_prefix(".arguments").filter(|rest| !rest.is_empty());
        return Err(match within_arguments {
            Some(place) => {
                refuse(ErrorCode::BadArguments, said(&Misfit::at(place, misfit.message.clone())))
            }
            None => bad_request(said(&misfit)),
        });
    }
    if let Some(unknown) = envelope.keys().next() {
        let message = format!("{unknown}: unknown; known here: `id`, `command`, `arguments`");
        return Err(bad_request(message));
    }
    if !arguments.is_object() {
        return Err(bad_request("arguments: must be an object".to_owned()));
    }
    let Some(command) = Command::read(&name, &arguments) else {
        return Err(refuse(ErrorCode::UnknownCommand, format!("no command is called `{name}`")));
    };
    let bad_arguments = |misfit: Misfit| refuse(ErrorCode::BadArguments, said(&misfit));
    let command = command.map_err(bad_arguments)?;
    match overlooked(&arguments, &command.arguments()) {
        Some(misfit) => Err(bad_arguments(misfit)),
        None => Ok(RequestLine { id, command }),
    }
}

fn id_of(envelope: &mut Map<String, Value>, twice: Option<&Misfit>) -> Result<u64, BadRequest> {
    let refuse = |message: &str| BadRequest::new(None, ErrorCode::BadRequest, message);
    if twice.is_some_and(|misfit| misfit.place == ".id") {
        return Err(refuse("id: given twice"));
    }
    let id = envelope.remove("id").as_ref().and_then(Value::as_u64);
    id.ok_or_else(|| refuse("id: must be an integer from 0"))
}

/// `a.format.send: …`: a place as people write it.
fn said(misfit: &Misfit) -> String {
    misfit.to_string().trim_start_matches('.').to_owned()
}

/// What the client receives after the greeting.
#[derive(Clone, Debug, PartialEq)]
pub enum FromMedia {
    /// The answer to a request.
    Reply {
        /// The request's `id`; `None` when media could not read one.
        id: Option<u64>,
        /// The result, to be read by the type that belongs to the command.
        result: Result<Value, ControlError>,
    },
    /// An event.
    Event {
        /// Counts the events of this connection, from 1: a step of more than one means loss.
        sequence: u64,
        /// The event.
        event: Event,
    },
    /// An event of a kind this client does not know; to be ignored.
    UnknownEvent,
}

/// A reply as a line.
pub fn write_reply(id: Option<u64>, result: &Result<Value, ControlError>) -> String {
    match result {
        Ok(result) => json!({ "id": id, "result": result }).to_string(),
        Err(error) => json!({ "id": id, "error": error }).to_string(),
    }
}

/// An event as a line.
pub fn write_event(sequence: u64, event: &Event) -> String {
    let mut value = serde_json::to_value(event).unwrap_or_default();
    value["sequence"] = json!(sequence);
    value.to_string()
}

/// Reads a line from the media process.
pub fn read_from_media(line: &str) -> Result<FromMedia, serde_json::Error> {
    let value: Value = serde_json::from_str(line)?;
    if value.get("event").is_some() {
        let sequence = value.get("sequence").and_then(Value::as_u64).unwrap_or(0);
        return Ok(match serde_json::from_value(value) {
            Ok(event) => FromMedia::Event { sequence, event },
            Err(_) => FromMedia::UnknownEvent,
        });
    }
    let id = value.get("id").and_then(Value::as_u64);
    let result = match value.get("error") {
        Some(error) => Err(serde_json::from_value(error.clone())?),
        None => Ok(value.get("result").cloned().unwrap_or_default()),
    };
    Ok(FromMedia::Reply { id, result })
}

#[cfg(test)]
mod tests;
