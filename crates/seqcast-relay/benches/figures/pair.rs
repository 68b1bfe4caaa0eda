//! Two hosts: two segments, and the process of a relay for each.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use seqcast::inspect::{Inspector, RelayPresence};
use seqcast::relay::Health;
use seqcast::{Bus, SegmentOptions};

use crate::common::host::eventually;
use crate::common::server::Server;

pub const SOURCE: &str = "cache";

/// A host.
pub struct Side {
    pub bus: Bus,
    inspector: Inspector,
    url: String,
    stream: String,
    relay: Option<Child>,
}

impl Side {
    fn new(server: &Server, stream: &str, number: u32, options: &SegmentOptions) -> Side {
        let name = format!("relay-figures-{}-{stream}-{number}", std::process::id());
        let bus = options.clone().unlink_on_drop(true).create(&name).expect("a segment");
        let inspector = Inspector::open(&name).expect("the segment is there");
        Side { bus, inspector, url: server.url(), stream: stream.to_owned(), relay: None }
    }

    /// Starts `seqcast-relay` with more arguments.
    pub fn launch(&self, more: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
        command.args([self.bus.name(), "--redis", &self.url, "--stream", &self.stream, "--source", SOURCE]);
        command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the relay is built with the bench")
    }

    pub fn start(&mut self, more: &[&str]) {
        self.take_over(self.launch(more));
        self.wait_until_up();
    }

    /// This process is the relay from now on.
    pub fn take_over(&mut self, relay: Child) {
        assert!(self.relay.is_none(), "a relay runs");
        self.relay = Some(relay);
    }

    pub fn wait_until_up(&self) {
        eventually("the relay is up", || {
            let state = self.inspector.relay().expect("the segment is there");
            state.presence == RelayPresence::Here && state.pid == self.pid() && state.health == Health::Up
        });
    }

    pub fn pid(&self) -> u32 {
        self.relay.as_ref().expect("a relay runs").id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut relay) = self.relay.take() {
            relay.kill().expect("it has not been waited for");
            relay.wait().expect("it ends");
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two hosts, of which the first sends.
pub struct Pair {
    pub from: Side,
    pub to: Side,
    pub stream: String,
}

impl Pair {
    pub fn start(server: &Server, stream: &str, capacity: u64, more: &[&str]) -> Pair {
        // Messages of 16 KiB have blocks of their own, and all others fit in one of the ring.
        let options = SegmentOptions::new().capacity(capacity).block_size(1152).large(2048, 16448).seats(16);
        let side = |number| Side::new(server, stream, number, &options);
        let mut pair = Pair { from: side(0), to: side(1), stream: stream.to_owned() };
        pair.from.start(more);
        pair.to.start(more);
        // Each is at the end of the stream, and none waits before its first answer.
        std::thread::sleep(Duration::from_millis(50));
        pair
    }

    pub fn relays(&self) -> [u32; 2] {
        [self.from.pid(), self.to.pid()]
    }
}
