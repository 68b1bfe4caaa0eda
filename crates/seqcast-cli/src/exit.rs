//! How the command ends.

use std::io;
use std::process::ExitCode;

use seqcast::{Error, ErrorKind};

/// The meaning of an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and nothing is wrong.
    Fine,
    /// A problem was found, or a claim is held elsewhere.
    Trouble,
    /// The command line cannot be executed.
    Usage,
    /// The segment cannot be opened or read.
    CannotOpen,
    /// The exit code of the command run by `seqcast claim`.
    Other(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Trouble => 1,
            Exit::Usage => 2,
            Exit::CannotOpen => 3,
            Exit::Other(code) => code,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub enum Failure {
    /// An error of the bus.
    Bus(Error),
    /// No segment has this name, but others exist.
    NoSegment { name: String, others: Vec<String> },
    /// The segment belongs to another user, and `--trust-owner` was not given.
    NotOurs { name: String, owner: u32 },
    /// The command line is wrong in a way that only shows during execution.
    Usage(String),
    /// An error that does not concern the segment: a terminal, a socket, a file.
    Io { what: String, error: io::Error },
    /// Standard output is closed, so nothing can be printed.
    Unread,
}

impl Failure {
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
        |error| Failure::Io { what: what.into(), error }
    }

    /// For errors while writing to standard output.
    pub fn output(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::Io { what: "writing to standard output".into(), error },
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Failure::Unread => Exit::Fine,
            Failure::Usage(_) => Exit::Usage,
            Failure::Io { .. } => Exit::Trouble,
            Failure::Bus(error) => match error.kind() {
                ErrorKind::Name
                | ErrorKind::Option
                | ErrorKind::Topic
                | ErrorKind::LibrarySource
                | ErrorKind::PayloadTooLarge
                | ErrorKind::NotYet => Exit::Usage,
                _ => Exit::CannotOpen,
            },
            Failure::NoSegment { .. } | Failure::NotOurs { .. } => Exit::CannotOpen,
        }
    }

    /// A short, stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Bus(error) => error.code(),
            Failure::NoSegment { .. } => "not_found",
            Failure::NotOurs { .. } => "owner",
            Failure::Usage(_) => "usage",
            Failure::Io { .. } => "io",
            Failure::Unread => "unread",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Bus(error) => error.fmt(f),
            Failure::NoSegment { name, others } if others.is_empty() => {
                write!(f, "no segment {name}, nor any other in /dev/shm that this user may read")
            }
            Failure::NoSegment { name, others } => {
                write!(f, "no segment {name}; there are {}", crate::segments::listed(others))
            }
            Failure::NotOurs { name, owner } => write!(
                f,
                "segment {name} belongs to user {owner}: run this as that user, or add --trust-owner if it is to be \
                 trusted"
            ),
            Failure::Usage(what) => f.write_str(what),
            Failure::Io { what, error } => write!(f, "{what}: {error}"),
            Failure::Unread => f.write_str("standard output is closed"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Bus(error)
    }
}
