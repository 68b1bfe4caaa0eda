//! Ways from one process to another: the relay, and what is used directly.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::Value;
use seqcast::{Bus, Event, Publisher, Scope, WorkerOptions};

use crate::bench::Bench;
use crate::board::{Board, stamp};
use crate::pair::SOURCE;
use crate::servers::Client;

const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `post`, to the other host.
    Spread,
    /// `post_cluster`, to the other host.
    Ordered,
    /// `post_cluster`, back to the own host.
    Own,
    /// XADD to XREAD.
    Stream,
    PubSub,
    PubSubTcp,
    Nats,
    JetStream,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Spread => "relay, `post`",
            Kind::Ordered => "relay, `post_cluster`",
            Kind::Own => "relay, `post_cluster`, back to its own host",
            Kind::Stream => "XADD to XREAD",
            Kind::PubSub => "Redis pub/sub",
            Kind::PubSubTcp => "Redis pub/sub, TCP",
            Kind::Nats => "NATS, TCP",
            Kind::JetStream => "NATS JetStream, TCP",
        }
    }

    pub const fn is_relay(self) -> bool {
        matches!(self, Kind::Spread | Kind::Ordered | Kind::Own)
    }
}

/// A way that is open, with nothing on it.
pub struct Way {
    sender: Sender,
    pub board: Arc<Board>,
    pub engine: u32,
    pub relays: Vec<u32>,
    /// The channel or the subject.
    pub name: String,
    /// Ends before the senders' connections do.
    receiver: Option<Receiver>,
}

enum Sender {
    Local { publisher: Box<Publisher>, ordered: bool },
    Wire { socket: Box<dyn Socket>, head: Vec<u8>, form: Form, buffer: Vec<u8>, answers: Option<JoinHandle<()>> },
}

/// What is between the head of a command and the payload.
#[derive(Clone, Copy)]
enum Form {
    Redis,
    Nats,
}

impl Way {
    /// Sends the messages `first..first + count` of `size` bytes.
    pub fn send(&mut self, first: u64, count: u64, message: &mut [u8]) {
        match &mut self.sender {
            Sender::Local { publisher, ordered } => {
                for number in first..first + count {
                    stamp(message, number);
                    let event = publisher.event((SOURCE, "changed"));
                    let event = if *ordered { event.cluster() } else { event };
                    event.post(&*message).expect("a post");
                }
            }
            Sender::Wire { socket, head, form, buffer, .. } => {
                buffer.clear();
                for number in first..first + count {
                    stamp(message, number);
                    buffer.extend_from_slice(head);
                    match form {
                        Form::Redis => write!(buffer, "${}\r\n", message.len()),
                        Form::Nats => write!(buffer, "{}\r\n", message.len()),
                    }
                    .expect("memory");
                    buffer.extend_from_slice(message);
                    buffer.extend_from_slice(b"\r\n");
                }
                socket.write_all(buffer).expect("the server reads");
            }
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.receiver.take();
        if let Sender::Wire { socket, answers, .. } = &mut self.sender {
            socket.close();
            if let Some(answers) = answers.take() {
                let _ = answers.join();
            }
        }
    }
}

/// A thread that notes what arrives.
pub struct Receiver {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// `step` waits for a short time at most, and handles what is there.
    fn start(mut step: impl FnMut() + Send + 'static) -> Option<Receiver> {
        let ends = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !of_thread.load(Ordering::Relaxed) {
                step();
            }
        });
        Some(Receiver { ends, thread: Some(thread) })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || thread::panicking(), "a receiver failed");
    }
}

/// Opens a way. `None` if its server is not installed.
pub fn open(bench: &Bench, kind: Kind) -> Option<Way> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    // Names of their own, so that no message of an earlier round arrives.
    let name = format!("figures-{}", TURN.fetch_add(1, Ordering::Relaxed));
    let (pair, server) = (&bench.pair, &bench.server);
    let unix = || -> Box<dyn Socket> { Box::new(UnixStream::connect(server.socket()).expect("the server listens")) };
    let mut way = match kind {
        Kind::Spread => local(bench, &pair.to.bus, false),
        Kind::Ordered => local(bench, &pair.to.bus, true),
        Kind::Own => local(bench, &pair.from.bus, true),
        Kind::Stream => {
            let board = Board::new();
            let receiver = read_stream(server.connection(), &name, &board);
            let key = bulk(&name);
            let head =
                format!("*8\r\n$4\r\nXADD\r\n{key}$6\r\nMAXLEN\r\n$1\r\n~\r\n$6\r\n100000\r\n$1\r\n*\r\n$1\r\nb\r\n");
            wire(unix(), head, Form::Redis, board, receiver, server.pid())
        }
        Kind::PubSub => publish(unix(), unix(), &name, server.pid()),
        Kind::PubSubTcp => {
            let tcp = || -> Box<dyn Socket> {
                let socket = TcpStream::connect(("127.0.0.1", bench.port)).expect("the server listens");
                socket.set_nodelay(true).expect("a TCP socket");
                Box::new(socket)
            };
            publish(tcp(), tcp(), &name, server.pid())
        }
        Kind::Nats | Kind::JetStream => {
            let nats = bench.nats.as_ref()?;
            let (mut client, from, board) = (nats.connect(), nats.connect(), Board::new());
            client.subscribe(&format!("{name}.in"));
            let mut head = format!("PUB {name}.in ");
            if kind == Kind::JetStream {
                let size = 256 << 20;
                let stream = format!(
                    "{{\"name\":\"{name}\",\"subjects\":[\"{name}.out\"],\"storage\":\"file\",\"num_replicas\":1,\
                     \"max_bytes\":{size},\"discard\":\"old\"}}"
                );
                client.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &stream);
                let consumer = format!(
                    "{{\"stream_name\":\"{name}\",\"config\":{{\"deliver_subject\":\"{name}.in\",\
                     \"ack_policy\":\"none\",\"deliver_policy\":\"all\"}}}}"
                );
                client.ask(&format!("$JS.API.CONSUMER.CREATE.{name}"), &consumer);
                // It acknowledges each message, as XADD does.
                head = format!("PUB {name}.out {name}.acks ");
            }
            let receiver = read_nats(client, &board);
            let socket = from.stream().try_clone().expect("a descriptor");
            if kind == Kind::JetStream {
                from.write(format!("SUB {name}.acks 2\r\n").as_bytes());
            }
            wire(Box::new(socket), head, Form::Nats, board, receiver, nats.pid())
        }
    };
    way.name = name;
    Some(way)
}

fn local(bench: &Bench, to: &Bus, ordered: bool) -> Way {
    let board = Board::new();
    let publisher = Box::new(bench.pair.from.bus.publisher().expect("a seat"));
    let receiver = read_segment(to, &board);
    let relays = bench.pair.relays().to_vec();
    Way {
        sender: Sender::Local { publisher, ordered },
        board,
        engine: bench.server.pid(),
        relays,
        name: String::new(),
        receiver,
    }
}

fn wire(
    socket: Box<dyn Socket>,
    head: String,
    form: Form,
    board: Arc<Board>,
    receiver: Option<Receiver>,
    engine: u32,
) -> Way {
    let name = String::new();
    let mut answers = socket.another();
    let answers = Some(thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut io::sink());
    }));
    let sender = Sender::Wire { socket, head: head.into_bytes(), form, buffer: Vec::new(), answers };
    Way { sender, board, engine, relays: Vec::new(), name, receiver }
}

fn publish(from: Box<dyn Socket>, to: Box<dyn Socket>, name: &str, engine: u32) -> Way {
    let board = Board::new();
    let receiver = read_channel(to, name, &board);
    wire(from, format!("*3\r\n$7\r\nPUBLISH\r\n{}", bulk(name)), Form::Redis, board, receiver, engine)
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A worker that notes the events of the bench.
pub fn read_segment(bus: &Bus, board: &Arc<Board>) -> Option<Receiver> {
    let worker = bus.join_with(&WorkerOptions::new().announce(false)).expect("a seat");
    let (board, of_missed) = (Arc::clone(board), Arc::clone(board));
    worker.on(Scope::source(SOURCE), move |event: &Event<'_>| board.note(event.bytes())).expect("a handler");
    worker.on_missed(move |missed| of_missed.fail(format!("{missed:?}"))).expect("a handler");
    Receiver::start(move || {
        worker.poll().expect("a poll");
        worker.wait(LOOK).expect("a wait");
    })
}

fn read_stream(mut connection: redis::Connection, key: &str, board: &Arc<Board>) -> Option<Receiver> {
    let (board, key) = (Arc::clone(board), key.to_owned());
    let mut last = "0-0".to_owned();
    Receiver::start(move || {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(512).arg("BLOCK").arg(LOOK.as_millis() as u64).arg("STREAMS").arg(&key).arg(&last);
        let answer: Value = command.query(&mut connection).expect("an answer");
        for_each_entry(answer, |id, payload| {
            board.note(&payload);
            last = id;
        });
    })
}

/// Hands over the entries of an answer to XREAD of one stream, of which each has one field.
pub fn for_each_entry(answer: Value, mut note: impl FnMut(String, Vec<u8>)) {
    let list = |value| match value {
        Value::Array(values) => values,
        Value::Nil => Vec::new(),
        other => panic!("another form than expected: {other:?}"),
    };
    let bytes = |value: Option<Value>| match value {
        Some(Value::BulkString(bytes)) => bytes,
        other => panic!("another form than expected: {other:?}"),
    };
    for stream in list(answer) {
        for entry in list(stream).pop().map(list).unwrap_or_default() {
            let mut parts = list(entry);
            let payload = bytes(parts.pop().map(list).and_then(|mut fields| fields.pop()));
            note(String::from_utf8(bytes(parts.pop())).expect("an id"), payload);
        }
    }
}

/// Subscribes to a channel of Redis, and reads the answer.
pub fn subscribe(socket: &mut dyn Socket, name: &str) {
    socket.write_all(format!("*2\r\n$9\r\nSUBSCRIBE\r\n{}", bulk(name)).as_bytes()).expect("the server reads");
    let mut answer = vec![0; format!("*3\r\n$9\r\nsubscribe\r\n{}:1\r\n", bulk(name)).len()];
    socket.read_exact(&mut answer).expect("an answer");
    assert!(answer.ends_with(b":1\r\n"), "{}", String::from_utf8_lossy(&answer));
}

fn read_channel(socket: Box<dyn Socket>, name: &str, board: &Arc<Board>) -> Option<Receiver> {
    let mut socket = socket;
    subscribe(&mut *socket, name);
    let mut reader = BufReader::with_capacity(256 << 10, socket);
    let mut line = Vec::new();
    let board = Arc::clone(board);
    Receiver::start(move || {
        if reader.buffer().is_empty() && !is_readable(reader.get_ref().descriptor(), LOOK) {
            return;
        }
        // `*3`, `message` and the channel, with the length before each; then the payload.
        line.clear();
        for _ in 0..5 {
            reader.read_until(b'\n', &mut line).expect("a message");
        }
        line.clear();
        reader.read_until(b'\n', &mut line).expect("a length");
        let len = std::str::from_utf8(&line[1..line.len() - 2]).ok().and_then(|len| len.parse().ok());
        line.resize(len.map_or(0, |len: usize| len + 2), 0);
        reader.read_exact(&mut line).expect("a payload");
        board.note(&line);
    })
}

fn read_nats(mut client: Client, board: &Arc<Board>) -> Option<Receiver> {
    let board = Arc::clone(board);
    Receiver::start(move || {
        if client.is_readable(LOOK) {
            let (line, payload) = client.read().expect("a message");
            assert!(line.starts_with("MSG "), "{line}");
            board.note(&payload);
        }
    })
}

/// Waits for at most `time`. Returns `true` if there is something to read.
pub fn is_readable(descriptor: RawFd, time: Duration) -> bool {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut poll, 1, time.as_millis() as i32) > 0 }
}

/// A connection of either family.
pub trait Socket: Read + Write + Send {
    fn another(&self) -> Box<dyn Socket>;
    fn close(&self);
    fn descriptor(&self) -> RawFd;
}

impl Socket for UnixStream {
    fn another(&self) -> Box<dyn Socket> {
        Box::new(self.try_clone().expect("a descriptor"))
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn descriptor(&self) -> RawFd {
        self.as_raw_fd()
    }
}

impl Socket for TcpStream {
    fn another(&self) -> Box<dyn Socket> {
        Box::new(self.try_clone().expect("a descriptor"))
    }

    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn descriptor(&self) -> RawFd {
        self.as_raw_fd()
    }
}
