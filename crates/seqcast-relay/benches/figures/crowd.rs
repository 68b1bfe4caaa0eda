//! Many simulated readers: plain connections that one thread serves.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::{Value, parse_redis_value};

use crate::way::Socket;

/// What a reader does.
#[derive(Clone)]
pub enum Role {
    /// Asks for the entries of a stream, and again no sooner than `interval` after an answer.
    Asks { key: String, interval: Duration },
    /// Is sent everything, as a subscriber is.
    Listens,
}

/// Readers, until this is dropped.
pub struct Crowd {
    ends: Arc<AtomicBool>,
    /// Answers of the server, or bytes that it has sent.
    heard: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

struct Member {
    socket: Box<dyn Socket>,
    last: String,
    buffer: Vec<u8>,
}

impl Crowd {
    /// The sockets must be subscribed if they only listen.
    pub fn start(sockets: Vec<Box<dyn Socket>>, role: Role) -> Crowd {
        let (ends, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (of_thread, counted) = (Arc::clone(&ends), Arc::clone(&heard));
        let new = |socket| Member { socket, last: "$".into(), buffer: Vec::new() };
        let members = sockets.into_iter().map(new).collect();
        let thread = Some(thread::spawn(move || serve(members, &role, &of_thread, &counted)));
        Crowd { ends, heard, thread }
    }

    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || thread::panicking(), "a reader failed");
    }
}

fn serve(mut members: Vec<Member>, role: &Role, ends: &AtomicBool, heard: &AtomicU64) {
    let poll = Poll::new();
    for (number, member) in members.iter().enumerate() {
        poll.add(member.socket.descriptor(), number as u64);
    }
    // When members ask again. All wait equally long, so they stay in order.
    let mut waiting: VecDeque<(Instant, usize)> = VecDeque::new();
    if matches!(role, Role::Asks { .. }) {
        members.iter_mut().for_each(|member| member.ask(role));
    }
    while !ends.load(Ordering::Relaxed) {
        let now = Instant::now();
        while waiting.front().is_some_and(|(due, _)| *due <= now) {
            let (_, number) = waiting.pop_front().expect("there is one");
            members[number].ask(role);
        }
        let first = waiting.front().map_or(Duration::from_millis(20), |(due, _)| *due - now);
        for number in poll.wait(first) {
            let member = &mut members[number as usize];
            match role {
                Role::Listens => {
                    heard.fetch_add(member.read(), Ordering::Relaxed);
                    member.buffer.clear();
                }
                Role::Asks { interval, .. } => {
                    member.read();
                    let Ok(answer) = parse_redis_value(&member.buffer) else { continue };
                    member.buffer.clear();
                    member.last = last_id(&answer).unwrap_or_else(|| panic!("another form: {answer:?}"));
                    heard.fetch_add(1, Ordering::Relaxed);
                    if interval.is_zero() {
                        member.ask(role);
                    } else {
                        waiting.push_back((Instant::now() + *interval, number as usize));
                    }
                }
            }
        }
    }
}

impl Member {
    fn ask(&mut self, role: &Role) {
        let Role::Asks { key, .. } = role else { return };
        let mut command = redis::cmd("XREAD");
        // As a relay asks.
        command.arg("COUNT").arg(16).arg("BLOCK").arg(0).arg("STREAMS").arg(key).arg(&self.last);
        self.socket.write_all(&command.get_packed_command()).expect("the server reads");
    }

    fn read(&mut self) -> u64 {
        let mut part = [0; 64 << 10];
        match self.socket.read(&mut part) {
            Ok(len) => {
                assert!(len > 0, "the server has closed a connection");
                self.buffer.extend_from_slice(&part[..len]);
                len as u64
            }
            Err(error) => panic!("a connection fails: {error}"),
        }
    }
}

fn last_id(answer: &Value) -> Option<String> {
    let last = |value: &Value| match value {
        Value::Array(values) => values.last().cloned(),
        _ => None,
    };
    let entry = last(&last(&last(answer)?)?)?;
    match entry {
        Value::Array(parts) => match parts.first() {
            Some(Value::BulkString(id)) => String::from_utf8(id.clone()).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// `epoll`, so that a wait does not cost more with more readers.
struct Poll(RawFd);

impl Poll {
    fn new() -> Poll {
        // SAFETY: no pointer.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(descriptor >= 0, "{}", io::Error::last_os_error());
        Poll(descriptor)
    }

    fn add(&self, descriptor: RawFd, number: u64) {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number };
        // SAFETY: `event` lives through the call.
        let added = unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
        assert_eq!(added, 0, "{}", io::Error::last_os_error());
    }

    /// The numbers of those that can be read, after `time` at most.
    fn wait(&self, time: Duration) -> Vec<u64> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 256];
        let millis = time.as_millis() as i32 + i32::from(!time.subsec_nanos().is_multiple_of(1_000_000));
        // SAFETY: `events` has as many places as it says.
        let count = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as i32, millis) };
        events[..count.max(0) as usize].iter().map(|event| event.u64).collect()
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { libc::close(self.0) };
    }
}
