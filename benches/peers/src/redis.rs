//! Redis publish/subscribe on a Unix socket, with a server process between the two. Its clients sleep in `read`,
//! because its server needs the cores, too.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::scratch::{Directory, name};
use crate::support::channel::{Channel, End, Side, Sink};

/// A separate server for this run. Dropping this ends it.
pub struct Server {
    child: Child,
    socket: PathBuf,
    _directory: Directory,
}

impl Server {
    /// Starts one. The error tells why there is none.
    pub fn start() -> Result<Server, String> {
        let directory = Directory::new();
        let socket = directory.0.join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(&directory.0);
        let child = ended_with_us(&mut command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("redis-server: {error}; apt-get install redis-server"))?;
        let server = Server { child, socket, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(5);
        while UnixStream::connect(&server.socket).is_err() {
            if Instant::now() > deadline {
                return Err("redis-server did not listen within 5 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

/// In a separate process group, so that the harness does not take it for a process of a batch, and killed when the
/// harness ends in any way.
pub fn ended_with_us(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).process_group(0);
    // SAFETY: one system call on numbers, which is safe after a fork.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        })
    }
}

/// Two topics of a server.
pub struct PubSub {
    socket: PathBuf,
    name: String,
}

impl PubSub {
    pub fn on(server: &Server) -> PubSub {
        PubSub { socket: server.socket.clone(), name: name() }
    }
}

pub struct PubSubEnd {
    publisher: UnixStream,
    subscriber: BufReader<UnixStream>,
    topic: String,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// Publications that the server has not answered yet.
    unanswered: usize,
    sink: &'static Sink,
}

impl Channel for PubSub {
    type End = PubSubEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> PubSubEnd {
        let connect = || UnixStream::connect(&self.socket).expect("the server");
        let (own, others) = if side == Side::Near { ("ping", "pong") } else { ("pong", "ping") };
        let topic = format!("{}-{own}", self.name);
        let others = format!("{}-{others}", self.name);
        let mut subscriber = BufReader::with_capacity(256 << 10, connect());
        write!(subscriber.get_mut(), "*2\r\n$9\r\nSUBSCRIBE\r\n${}\r\n{others}\r\n", others.len()).expect("written");
        let (publisher, request, buffer) = (connect(), Vec::new(), Vec::new());
        let mut end = PubSubEnd { publisher, subscriber, topic, request, buffer, unanswered: 0, sink };
        end.reply();
        end
    }
}

impl PubSubEnd {
    /// Reads a reply of three parts. Returns the position of the last one in the buffer, if it consists of bytes.
    fn reply(&mut self) -> Option<()> {
        let mut bytes_in_last = false;
        let parts = self.header('*');
        for _ in 0..parts {
            let mut line = String::new();
            self.subscriber.read_line(&mut line).expect("a reply");
            let (kind, number) = line.trim_end().split_at(1);
            bytes_in_last = kind == "$";
            if bytes_in_last {
                let len: usize = number.parse().expect("a length");
                self.buffer.resize(len + 2, 0);
                self.subscriber.read_exact(&mut self.buffer).expect("a reply");
                self.buffer.truncate(len);
            }
        }
        bytes_in_last.then_some(())
    }

    fn header(&mut self, kind: char) -> usize {
        let mut line = String::new();
        self.subscriber.read_line(&mut line).expect("a reply");
        line.trim_end().strip_prefix(kind).and_then(|number| number.parse().ok()).expect("an array")
    }

    /// Reads the server's replies to publications, as far as they have arrived; with `wait`, all of them.
    fn take_answers(&mut self, wait: bool) {
        let mut answers = [0_u8; 4096];
        let fd = self.publisher.as_raw_fd();
        while self.unanswered > 0 {
            let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
            // SAFETY: the pointer and length belong to the array.
            let read = unsafe { libc::recv(fd, answers.as_mut_ptr().cast(), answers.len(), flags) };
            let Ok(read @ 1..) = usize::try_from(read) else { return };
            self.unanswered -= answers[..read].iter().filter(|&&byte| byte == b'\n').count();
        }
    }
}

impl Drop for PubSubEnd {
    fn drop(&mut self) {
        // If a socket is closed with unread data, data that the other side has not read yet is lost, too.
        self.take_answers(true);
    }
}

impl End for PubSubEnd {
    fn send(&mut self, payload: &[u8]) {
        self.take_answers(false);
        self.request.clear();
        let topic = &self.topic;
        write!(self.request, "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{topic}\r\n${}\r\n", topic.len(), payload.len())
            .expect("memory");
        self.request.extend_from_slice(payload);
        self.request.extend_from_slice(b"\r\n");
        self.publisher.write_all(&self.request).expect("published");
        self.unanswered += 1;
    }

    fn poll(&mut self) {
        if self.reply().is_some() {
            self.sink.take(&self.buffer);
        }
        // Data that arrived in the same read.
        while !self.subscriber.buffer().is_empty() && self.reply().is_some() {
            self.sink.take(&self.buffer);
        }
    }
}
