//! The master's end of a child process.

use std::io;

use rustix::process::{Pid, Signal, WaitStatus};

use crate::Result;
use crate::process;
use crate::report::{self, Receiver, Report, Sender};

/// A forked child. Dropping it kills the child, so that none is left if the master returns early or panics.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    reports: Receiver,
    /// Set once the child was waited for; from then on the pid may belong to another process.
    ended: Option<WaitStatus>,
}

impl Child {
    /// Forks a child that does `run` and reports through the given pipe.
    pub fn fork(name: &str, run: impl FnOnce(Sender) -> Result<()>) -> io::Result<Child> {
        let (sender, reports) = report::channel()?;
        // The closure owns the writing end, so that it is closed here when `fork` returns.
        let pid = process::fork(name, move || run(sender))?;
        Ok(Child { pid, reports, ended: None })
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns its reports since the last call. After its [end](Child::ended) there are no further ones.
    pub fn reports(&mut self) -> Result<Vec<Report>> {
        self.reports.drain()
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<WaitStatus>> {
        if self.ended.is_none() {
            self.ended = process::ended(self.pid)?;
        }
        Ok(self.ended)
    }

    pub fn kill(&self) -> io::Result<()> {
        match self.ended {
            None => process::signal(self.pid, Signal::KILL),
            Some(_) => Ok(()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It is our child and was not waited for, so the pid is still its.
            let _ = self.kill();
            process::reap(self.pid);
        }
    }
}

/// Describes how a process ended.
pub fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => format!("ended with status {status:?}"),
    }
}
