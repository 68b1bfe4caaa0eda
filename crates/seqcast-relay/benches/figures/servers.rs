//! The NATS server of the bench, and a client that speaks its text protocol.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::server::Folder;
use crate::way::is_readable;

/// A `nats-server` with JetStream. It is killed when this is dropped.
pub struct Nats {
    child: Child,
    port: u16,
    pub version: String,
    _folder: Folder,
}

/// Debian installs it where users do not look.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file())
}

/// A port that no one uses. Another process may take it before the server does: then the server fails.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Nats {
    /// `None` if it is not installed.
    pub fn start() -> Option<Nats> {
        let program = program()?;
        let (folder, port) = (Folder::new(), free_port());
        let version = Command::new(&program).arg("--version").output().expect("it runs").stdout;
        let version = String::from_utf8_lossy(&version).trim().replace("nats-server: v", "");
        let config = folder.path().join("nats.conf");
        // Without pings, which the clients here would have to answer.
        let rules = format!(
            "listen: 127.0.0.1:{port}\nping_interval: \"1h\"\nwrite_deadline: \"10s\"\n\
             jetstream {{ store_dir: {:?} }}\n",
            folder.path().join("jetstream")
        );
        fs::write(&config, rules).expect("a file of our own");
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("it runs");
        let nats = Nats { child, port, version, _folder: folder };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "nats-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(nats)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut client = Client { reader: BufReader::with_capacity(256 << 10, stream) };
        let (info, _) = client.read().expect("the server introduces itself");
        assert!(info.starts_with("INFO "), "{info}");
        client.write(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
        client.flush();
        client
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub fn write(&self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the server reads");
    }

    /// Everything that was written has been handled.
    pub fn flush(&mut self) {
        self.write(b"PING\r\n");
        let (answer, _) = self.read().expect("an answer");
        assert_eq!(answer, "PONG");
    }

    pub fn subscribe(&mut self, subject: &str) {
        self.write(format!("SUB {subject} 1\r\n").as_bytes());
        self.flush();
    }

    /// The next line, and its payload if it has one.
    pub fn read(&mut self) -> io::Result<(String, Vec<u8>)> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        assert!(!line.starts_with("-ERR"), "{line}");
        let mut payload = Vec::new();
        if line.starts_with("MSG ") {
            let len: usize = line.rsplit(' ').next().and_then(|len| len.parse().ok()).expect("a length");
            payload.resize(len + 2, 0);
            self.reader.read_exact(&mut payload)?;
            payload.truncate(len);
        }
        Ok((line, payload))
    }

    /// Waits for at most `time`. Returns `true` if a message may be there.
    pub fn is_readable(&self, time: Duration) -> bool {
        !self.reader.buffer().is_empty() || is_readable(self.stream().as_raw_fd(), time)
    }

    /// Asks JetStream something, and returns its answer in JSON.
    pub fn ask(&mut self, subject: &str, json: &str) -> String {
        self.write(b"SUB _INBOX.figures 9\r\n");
        self.write(format!("PUB {subject} _INBOX.figures {}\r\n{json}\r\n", json.len()).as_bytes());
        let (_, answer) = self.read().expect("an answer");
        self.write(b"UNSUB 9\r\n");
        self.flush();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains("\"error\""), "{subject}: {answer}");
        answer
    }
}
