//! Control protocol, version 1: messages ⇄ lines. Bounds on a line's length are the reader's.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::message::{Command, ControlError, ErrorCode, Event};

/// A request as a line.
pub fn write_request(id: u64, command: &Command) -> String {
    let arguments = match command {
        Command::TakeControl | Command::Ping | Command::QueryProcess => Ok(json!({})),
        Command::CreateCall(arguments) => serde_json::to_value(arguments),
        Command::UpdateLeg(arguments) => serde_json::to_value(arguments),
        Command::Park(arguments) => serde_json::to_value(arguments),
        Command::DeleteCall(arguments) | Command::QueryCall(arguments) => {
            serde_json::to_value(arguments)
        }
        Command::ListCalls(arguments) => serde_json::to_value(arguments),
        Command::SendDatagram(arguments) => serde_json::to_value(arguments),
        Command::SendDigit(arguments) => serde_json::to_value(arguments),
        Command::Subscribe(arguments) => serde_json::to_value(arguments),
    };
    // These types hold only strings, numbers and maps with string keys: serialising cannot fail.
    let arguments = arguments.unwrap_or(Value::Null);
    json!({ "id": id, "command": command.name(), "arguments": arguments }).to_string()
}

/// A parsed request line.
#[derive(Debug, PartialEq)]
pub struct Request {
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

/// Reads a request line.
pub fn read_request(line: &str) -> Result<Request, BadRequest> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(default)]
        id: Option<Value>,
        #[serde(default)]
        command: Option<Value>,
        #[serde(default, borrow)]
        arguments: Option<&'a RawValue>,
    }

    let refuse =
        |id, code, message: String| BadRequest { id, error: ControlError::new(code, message) };
    let envelope: Envelope<'_> = serde_json::from_str(line)
        .map_err(|error| refuse(None, ErrorCode::BadJson, format!("not a JSON object: {error}")))?;
    let id = envelope.id.as_ref().and_then(Value::as_u64).ok_or_else(|| {
        refuse(None, ErrorCode::BadRequest, "`id` must be an integer from 0".to_owned())
    })?;
    let name = envelope.command.as_ref().and_then(Value::as_str).ok_or_else(|| {
        refuse(Some(id), ErrorCode::BadRequest, "`command` must be a string".to_owned())
    })?;
    let text = envelope.arguments.map_or("{}", RawValue::get);

    fn arguments<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
    let command = match name {
        "take_control" => Ok(Command::TakeControl),
        "ping" => Ok(Command::Ping),
        "create_call" => arguments(text).map(Command::CreateCall),
        "update_leg" => arguments(text).map(Command::UpdateLeg),
        "park" => arguments(text).map(Command::Park),
        "delete_call" => arguments(text).map(Command::DeleteCall),
        "list_calls" => arguments(text).map(Command::ListCalls),
        "query_call" => arguments(text).map(Command::QueryCall),
        "query_process" => Ok(Command::QueryProcess),
        "send_datagram" => arguments(text).map(Command::SendDatagram),
        "send_digit" => arguments(text).map(Command::SendDigit),
        "subscribe" => arguments(text).map(Command::Subscribe),
        other => {
            let message = format!("no command is called `{other}`");
            return Err(refuse(Some(id), ErrorCode::UnknownCommand, message));
        }
    };
    command
        .map(|command| Request { id, command })
        .map_err(|message| refuse(Some(id), ErrorCode::BadArguments, format!("{name}: {message}")))
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
