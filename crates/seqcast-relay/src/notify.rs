//! Messages to systemd, by hand: one datagram each.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if the process was started by one that listens.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_env() -> Notifier {
        let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_ours).map(Duration::from_micros);
        let path = env::var_os("NOTIFY_SOCKET");
        Notifier { socket: path.and_then(|path| socket(path.as_bytes())), watchdog }
    }

    /// The time within which the manager wants a sign of life.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends lines such as `READY=1`. A manager that does not listen is no error.
    pub fn send(&self, lines: &str) {
        if let Some((socket, to)) = &self.socket {
            let _ = socket.send_to_addr(lines.as_bytes(), to);
        }
    }
}

fn socket(path: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name).ok()?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    // The manager must not be able to stop the relay.
    socket.set_nonblocking(true).ok()?;
    Some((socket, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_a_socket_with_an_abstract_name_and_one_in_a_folder() {
        let name = format!("seqcast-relay-notify-{}", std::process::id());
        let path = env::temp_dir().join(&name);
        let addresses = [
            (format!("@{name}"), SocketAddr::from_abstract_name(&name).unwrap()),
            (path.to_str().unwrap().to_owned(), SocketAddr::from_pathname(&path).unwrap()),
        ];
        for (shown, address) in addresses {
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            let notifier = Notifier { socket: socket(shown.as_bytes()), watchdog: None };
            notifier.send("READY=1\n");
            let mut buffer = [0; 64];
            let len = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"READY=1\n");
        }
        std::fs::remove_file(path).unwrap();
        Notifier { socket: socket(b"/does/not/exist"), watchdog: None }.send("READY=1");
    }
}
