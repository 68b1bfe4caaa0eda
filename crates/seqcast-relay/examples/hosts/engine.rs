//! Two servers, a sentinel, and the links of hosts to them.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::host::Host;
use crate::common::proxy::{Mode, Proxy};
use crate::common::server::{Folder, Sentinel, Server};

/// The argument of a relay that waits for the place of another one.
pub const STANDBY: &str = "standby";

/// How a host finds its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over a Unix socket, by a link that leads to the master.
    Socket,
    /// Over TCP, where the sentinel says.
    Sentinel,
    /// Over TLS, by a link that leads to the master.
    Tls,
}

impl Way {
    /// Hosts have them in turn.
    pub fn of(host: usize) -> Way {
        let ways: &[Way] =
            if cfg!(feature = "tls") { &[Way::Socket, Way::Sentinel, Way::Tls] } else { &[Way::Socket, Way::Sentinel] };
        ways[host % ways.len()]
    }

    pub const fn name(self) -> &'static str {
        match self {
            Way::Socket => "a Unix socket",
            Way::Sentinel => "a sentinel",
            Way::Tls => "TLS",
        }
    }
}

/// Two servers, of which the second copies the first over a link that can be held.
pub struct Engine {
    pub servers: [Server; 2],
    /// For each server, the link by which the other copies it, and which the sentinel and its hosts use.
    pub links: [Proxy; 2],
    pub master: usize,
    sentinel: Sentinel,
    port: u16,
    /// Certificates, and the sentinel's file.
    folder: Folder,
}

/// A master that says nothing for so long is replaced by the sentinel. Only some faults are to make it act.
const PATIENT: u32 = 60_000;
const HASTY: u32 = 300;

impl Engine {
    pub fn start() -> Engine {
        // Not by the seed, so that two runs with one seed do not share ports.
        let port = fastrand::Rng::new().u16(20_000..32_000);
        let folder = Folder::new();
        if cfg!(feature = "tls") {
            crate::common::server::certify(folder.path(), "server");
        }
        let start = |number: u16| {
            let text = |port: u16| port.to_string();
            let file = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
            let mut arguments = vec!["--port".into(), text(port + number), "--bind".into(), "127.0.0.1".into()];
            let more = [
                ["--appendonly", "yes"],
                ["--appendfsync", "everysec"],
                ["--repl-diskless-sync-delay", "0"],
                ["--repl-ping-replica-period", "1"],
                // What the other and the sentinel take for its address.
                ["--replica-announce-ip", "127.0.0.1"],
                ["--replica-announce-port", &text(port + 10 + number)],
            ];
            arguments.extend(more.as_flattened().iter().map(|word| (*word).to_owned()));
            if cfg!(feature = "tls") {
                let (certificate, key, authority) = (file("server.pem"), file("server.key"), file("server-ca.pem"));
                let tls = [
                    ["--tls-port", &text(port + 30 + number)],
                    ["--tls-cert-file", &certificate],
                    ["--tls-key-file", &key],
                    ["--tls-ca-cert-file", &authority],
                    ["--tls-auth-clients", "no"],
                ];
                arguments.extend(tls.as_flattened().iter().map(|word| (*word).to_owned()));
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            Server::start_with(&arguments)
        };
        let servers = [start(0), start(1)];
        let link = |number: u16| Proxy::start_tcp(port + 10 + number, port + number);
        let links = [link(0), link(1)];
        let sentinel = Sentinel::start(folder.path(), port + 20, links[0].port());
        let engine = Engine { servers, links, master: 0, sentinel, port, folder };
        engine.watch();
        engine.copy();
        engine.wait_for_copy();
        engine
    }

    pub fn master(&self) -> &Server {
        &self.servers[self.master]
    }

    fn replica(&self) -> &Server {
        &self.servers[1 - self.master]
    }

    /// Gives a host its link.
    pub fn connect(&self, host: &mut Host, number: usize) {
        match Way::of(number) {
            Way::Socket => {}
            Way::Sentinel => host.url = Some(self.sentinel.url()),
            Way::Tls => {
                let port = self.port + 40 + number as u16;
                host.proxy = Proxy::start_tcp(port, self.tls_port());
                host.url = Some(format!("rediss://localhost:{port}"));
                let authority = self.folder.path().join("server-ca.pem");
                host.more = vec![authority.to_str().expect("a plain path").to_owned()];
            }
        }
    }

    fn tls_port(&self) -> u16 {
        self.port + 30 + self.master as u16
    }

    /// The link that a host uses.
    pub fn link<'a>(&'a self, host: &'a Host, number: usize) -> &'a Proxy {
        match Way::of(number) {
            Way::Sentinel => &self.links[self.master],
            Way::Socket | Way::Tls => &host.proxy,
        }
    }

    /// A host goes to the master. Those of the sentinel go by themselves.
    pub fn lead(&self, host: &Host, number: usize) {
        match Way::of(number) {
            Way::Socket => host.proxy.lead_to(&self.master().socket()),
            Way::Tls => host.proxy.lead_to_port(self.tls_port()),
            Way::Sentinel => {}
        }
    }

    /// The server that is not the master copies it.
    pub fn copy(&self) {
        let port = self.links[self.master].port();
        self.replica().run_command(&format!("REPLICAOF 127.0.0.1 {port}"));
    }

    pub fn wait_for_copy(&self) {
        wait("the replica copies", || self.replica().ask::<String>("INFO replication").contains("link_status:up"));
    }

    /// The sentinel watches the master, and does not act for now.
    fn watch(&self) {
        let port = self.links[self.master].port();
        let _: Option<redis::Value> = self.sentinel.try_ask("SENTINEL REMOVE shop").ok();
        self.sentinel.run_command(&format!("SENTINEL MONITOR shop 127.0.0.1 {port} 1"));
        self.sentinel.run_command("SENTINEL SET shop failover-timeout 2000");
        self.patience(PATIENT);
    }

    fn patience(&self, millis: u32) {
        self.sentinel.run_command(&format!("SENTINEL SET shop down-after-milliseconds {millis}"));
    }

    /// The replica becomes the master by an operator, and these hosts are led to it.
    pub fn promote<'a>(&mut self, hosts: impl Iterator<Item = (usize, &'a Host)>) {
        self.replica().run_command("REPLICAOF NO ONE");
        self.switch();
        self.watch();
        let old = &self.links[1 - self.master];
        old.cut();
        old.set(Mode::Pass);
        hosts.for_each(|(number, host)| self.lead(host, number));
    }

    /// The link to the master is held, so the sentinel makes the replica the master. The old master may be killed after
    /// `hold`. Hosts that use the sentinel follow by themselves.
    pub fn fail_over(&mut self, hold: Duration, is_killed: bool) {
        wait("the sentinel knows the replica", || self.sentinel.ask::<String>("INFO sentinel").contains("slaves=1,"));
        self.patience(HASTY);
        self.links[self.master].set(Mode::Hole);
        thread::sleep(hold);
        if is_killed {
            let master = self.master;
            self.servers[master].kill();
        }
        let new = self.links[1 - self.master].port().to_string();
        wait("the sentinel acts", || {
            let place: Vec<String> = self.sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME shop");
            place.get(1) == Some(&new)
        });
        self.patience(PATIENT);
        self.switch();
        let old = &self.links[1 - self.master];
        old.cut();
        old.set(Mode::Pass);
    }

    fn switch(&mut self) {
        self.master = 1 - self.master;
    }

    /// The server that was the master before copies the present one. It is started if it was killed.
    pub fn rejoin(&mut self, was_killed: bool) {
        if was_killed {
            let old = 1 - self.master;
            self.servers[old].run();
        }
        self.copy();
    }

    /// Makes the master refuse writes for a time.
    pub fn fill(&self, time: Duration) {
        self.master().run_command("CONFIG SET maxmemory 1");
        thread::sleep(time);
        self.master().run_command("CONFIG SET maxmemory 0");
    }
}

fn wait(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never happened: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
