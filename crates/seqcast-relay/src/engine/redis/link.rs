//! One connection, its scripts, and what errors mean.

use std::time::Duration;

use redis::{Cmd, Connection, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use sha1_smol::Sha1;

use super::address::Address;
use crate::engine::EngineError;

/// For a connection to be made, with its handshake.
const CONNECT: Duration = Duration::from_secs(1);
/// For an answer. A script takes microseconds, so a server that takes longer is gone for us.
pub(super) const ANSWER: Duration = Duration::from_millis(2500);

pub(super) struct Link {
    connection: Connection,
    /// The address that a server named in a refusal.
    pub(super) moved: Option<(String, u16)>,
}

impl Link {
    /// Connects to `moved` if it is given, else to the address, and loads the scripts.
    pub(super) fn connect(
        address: &Address,
        moved: Option<&(String, u16)>,
        scripts: &[&'static str],
    ) -> Result<Link, EngineError> {
        let client = address.client(moved, CONNECT)?;
        let connection = client.get_connection_with_timeout(CONNECT).map_err(|error| meaning(&error))?;
        let mut link = Link { connection, moved: None };
        link.wait_at_most(ANSWER)?;
        link.connection.set_write_timeout(Some(ANSWER)).map_err(|error| meaning(&error))?;
        for script in scripts {
            link.ask(cmd("SCRIPT").arg("LOAD").arg(*script))?;
        }
        Ok(link)
    }

    /// Changes the longest wait for an answer.
    pub(super) fn wait_at_most(&mut self, time: Duration) -> Result<(), EngineError> {
        self.connection.set_read_timeout(Some(time)).map_err(|error| meaning(&error))
    }

    pub(super) fn send(&mut self, command: &Cmd) -> Result<(), EngineError> {
        self.connection.send_packed_command(&command.get_packed_command()).map_err(|error| meaning(&error))
    }

    pub(super) fn receive(&mut self) -> Result<Value, EngineError> {
        let answer = self.connection.recv_response().and_then(Value::extract_error);
        answer.map_err(|error| {
            self.moved = error.redirect_node().map(|(host, port)| (host.to_owned(), port));
            meaning(&error)
        })
    }

    pub(super) fn ask(&mut self, command: &Cmd) -> Result<Value, EngineError> {
        self.send(command)?;
        self.receive()
    }

    /// A setting of the server, if it may be read.
    pub(super) fn setting(&mut self, name: &str) -> Option<String> {
        match self.ask(cmd("CONFIG").arg("GET").arg(name)) {
            Ok(Value::Array(values)) => values.get(1).and_then(text).map(str::to_owned),
            Ok(Value::Map(values)) => values.first().and_then(|(_, value)| text(value)).map(str::to_owned),
            _ => None,
        }
    }
}

/// `EVALSHA` of a script that was loaded.
pub(super) fn evalsha(script: &str, keys: &[&str]) -> Cmd {
    let mut command = cmd("EVALSHA");
    command.arg(Sha1::from(script).hexdigest()).arg(keys.len());
    for key in keys {
        command.arg(*key);
    }
    command
}

/// What the relay does about an error.
pub(super) fn meaning(error: &RedisError) -> EngineError {
    let text = describe(error);
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            EngineError::Moved(text)
        }
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => EngineError::Refused(text),
        // After SCRIPT FLUSH, or on another server behind the same address: connect, and load them again.
        ErrorKind::Server(ServerErrorKind::NoScript) => EngineError::Lost(text),
        ErrorKind::Server(ServerErrorKind::NoPerm) | ErrorKind::AuthenticationFailed => EngineError::Denied(text),
        ErrorKind::InvalidClientConfig => EngineError::Denied(text),
        _ => match error.code() {
            Some("OOM" | "NOREPLICAS" | "MISCONF" | "BUSY" | "LOADING" | "MASTERDOWN" | "UNKILLABLE") => {
                EngineError::Refused(text)
            }
            // UNBLOCKED: a server that was the master became a replica while it was asked.
            Some("READONLY" | "UNBLOCKED") => EngineError::Moved(text),
            Some("ERR") if text.contains("max number of clients") => EngineError::Refused(text),
            // An operator has to change something.
            Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "WRONGTYPE" | "ERR") => EngineError::Denied(text),
            Some(_) => EngineError::Refused(text),
            None => EngineError::Lost(text),
        },
    }
}

/// The server's text is for people, and may repeat a key, but no password and no payload.
fn describe(error: &RedisError) -> String {
    const MOST_CHARS: usize = 200;
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("the server answers {code}: {detail}"),
        (Some(code), None) => format!("the server answers {code}"),
        (None, _) if error.is_timeout() => format!("no answer in time ({error})"),
        (None, _) => error.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_CHARS).collect()
}

/// An answer that the scripts do not give: another program's keys, or a proxy's own mind.
pub(super) fn unexpected(what: &str) -> EngineError {
    EngineError::Lost(format!("the server's answer to {what} has another form than expected"))
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
