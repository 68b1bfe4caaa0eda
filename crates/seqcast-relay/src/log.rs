//! One line for each change, and errors of one kind once a minute. Never a payload, a key or a password.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// An error of one kind is repeated after this time.
const REPEAT: Duration = Duration::from_secs(60);

type Sink = Box<dyn Fn(&str) + Send + Sync>;

/// Where lines go.
pub struct Log {
    sink: Sink,
    kinds: Mutex<HashMap<&'static str, Seen>>,
}

struct Seen {
    last: Instant,
    left_out: u64,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// Lines go to `sink`.
    pub fn to(sink: impl Fn(&str) + Send + Sync + 'static) -> Log {
        Log { sink: Box::new(sink), kinds: Mutex::default() }
    }

    /// Lines go to standard error.
    pub fn stderr() -> Log {
        // A log that cannot be written must not end the relay.
        Log::to(|line| drop(writeln!(std::io::stderr(), "seqcast-relay: {line}")))
    }

    /// Nothing is logged.
    pub fn silent() -> Log {
        Log::to(|_| {})
    }

    /// Something has changed.
    pub fn line(&self, line: impl fmt::Display) {
        (self.sink)(&line.to_string());
    }

    /// Something is wrong, perhaps again. `kind` is what is counted together.
    pub fn trouble(&self, kind: &'static str, line: impl fmt::Display) {
        self.trouble_at(Instant::now(), kind, line);
    }

    fn trouble_at(&self, now: Instant, kind: &'static str, line: impl fmt::Display) {
        let mut kinds = self.kinds.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let left_out = match kinds.get_mut(kind) {
            Some(seen) if now.saturating_duration_since(seen.last) < REPEAT => {
                seen.left_out += 1;
                return;
            }
            Some(seen) => {
                seen.last = now;
                std::mem::take(&mut seen.left_out)
            }
            None => {
                kinds.insert(kind, Seen { last: now, left_out: 0 });
                0
            }
        };
        drop(kinds);
        match left_out {
            0 => self.line(line),
            more => self.line(format_args!("{line} (and {more} more of this kind)")),
        }
    }

    /// What was wrong is right again: the next time it is told at once.
    pub fn settled(&self, kind: &'static str) {
        self.kinds.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(kind);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn errors_of_one_kind_are_told_once_a_minute_with_their_number() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let log = Log::to(move |line| sink.lock().unwrap().push(line.to_owned()));
        let start = Instant::now();
        for second in [0, 1, 2, 59, 60, 61] {
            log.trouble_at(start + Duration::from_secs(second), "lost", format_args!("lost {second}"));
        }
        log.trouble_at(start, "refused", "refused");
        log.settled("lost");
        log.trouble_at(start + Duration::from_secs(62), "lost", "lost 62");
        assert_eq!(*lines.lock().unwrap(), ["lost 0", "lost 60 (and 3 more of this kind)", "refused", "lost 62"]);
    }
}
