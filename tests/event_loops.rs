//! The programs of docs/event_loops.md: bells in common event loops. The loop goes to sleep before each event is
//! posted, and no timer wakes it.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use async_io::Async;
use io_uring::{IoUring, cqueue, opcode, types};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use seqcast::{Bell, BellKind, BellOptions, Bus, PullBell, Subscriber, Worker};
use seqcast_testkit::{HOUR, Name, bus, quiet, small};

const EVENTS: u64 = 200;
const BELL: u64 = 7;

/// A worker with a bell, and a thread that posts one event on each request.
struct Scene {
    bell: Bell,
    handled: Arc<AtomicU64>,
    /// How many events were requested.
    asked: Cell<u64>,
    ask: Option<Sender<()>>,
    posting: Option<JoinHandle<()>>,
    _worker: Worker,
    _name: Name,
}

fn poster(bus: &Bus) -> (Sender<()>, JoinHandle<()>) {
    let (ask, asked) = std::sync::mpsc::channel();
    let bus = bus.clone();
    let posting = std::thread::spawn(move || {
        let mut publisher = bus.publisher().unwrap();
        for () in asked {
            publisher.post(("s", "e"), "").unwrap();
        }
    });
    (ask, posting)
}

impl Scene {
    fn new() -> Scene {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let handled = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&handled);
        worker.on(("s", "e"), move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
        let bell = worker.bell_with(&BellOptions::new().interval(HOUR)).unwrap();
        assert_eq!(bell.kind(), BellKind::Inotify, "{:?}", bell.unheard());
        let (ask, posting) = poster(&bus);
        Scene {
            bell,
            handled,
            asked: Cell::new(0),
            ask: Some(ask),
            posting: Some(posting),
            _worker: worker,
            _name: name,
        }
    }

    /// Polls, and requests the next event if the last one was handled. Returns `false` when all events were handled.
    fn poll(&self) -> bool {
        self.bell.poll().unwrap();
        let handled = self.handled();
        // The first poll finds nothing, and requests the first event. A loop may be woken again before that event is
        // posted.
        if handled == self.asked.get() {
            if handled == EVENTS {
                return false;
            }
            self.asked.set(handled + 1);
            self.ask.as_ref().unwrap().send(()).unwrap();
        }
        true
    }

    fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.ask = None;
        let posted = self.posting.take().unwrap().join();
        if !std::thread::panicking() {
            posted.unwrap();
            assert_eq!(self.handled(), EVENTS);
        }
    }
}

#[test]
fn g19_mio() {
    let scene = Scene::new();
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let descriptor = scene.bell.as_raw_fd();
    poll.registry().register(&mut SourceFd(&descriptor), Token(BELL as usize), Interest::READABLE).unwrap();
    let mut goes_on = true;
    while goes_on {
        poll.poll(&mut events, Some(HOUR)).unwrap();
        for event in &events {
            assert_eq!(event.token(), Token(BELL as usize));
            goes_on = scene.poll();
        }
    }
}

#[test]
fn g19_async_io() {
    let scene = Scene::new();
    async_io::block_on(async {
        let bell = Async::new_nonblocking(scene.bell.as_fd()).unwrap();
        loop {
            bell.readable().await.unwrap();
            if !scene.poll() {
                break;
            }
        }
    });
}

fn epoll_loop(flags: EventFlags) {
    let scene = Scene::new();
    let set = epoll::create(CreateFlags::CLOEXEC).unwrap();
    epoll::add(&set, &scene.bell, EventData::new_u64(BELL), flags).unwrap();
    let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
    loop {
        let ready = rustix::io::retry_on_intr(|| epoll::wait(&set, &mut events, None)).unwrap();
        assert_eq!((ready, { events[0].data }.u64()), (1, BELL));
        if !scene.poll() {
            break;
        }
    }
}

#[test]
fn g19_epoll_level_triggered() {
    epoll_loop(EventFlags::IN);
}

#[test]
fn g19_epoll_edge_triggered() {
    epoll_loop(EventFlags::IN | EventFlags::ET);
}

#[test]
fn g19_poll() {
    use rustix::event::{PollFd, PollFlags, poll};
    let scene = Scene::new();
    loop {
        let mut descriptors = [PollFd::new(&scene.bell, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut descriptors, None)).unwrap();
        assert_eq!(descriptors[0].revents(), PollFlags::IN);
        if !scene.poll() {
            break;
        }
    }
}

#[test]
fn g19_io_uring() {
    let mut ring = match IoUring::new(8) {
        Ok(ring) => ring,
        Err(error) => {
            eprintln!("not tried: io_uring is not to be had here: {error}");
            return;
        }
    };
    let scene = Scene::new();
    let watch = opcode::PollAdd::new(types::Fd(scene.bell.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
    let watch = watch.user_data(BELL);
    let submit = |ring: &mut IoUring| {
        // SAFETY: the entry has no pointer, and the bell outlives the ring.
        unsafe { ring.submission().push(&watch).unwrap() };
    };
    submit(&mut ring);
    let mut goes_on = true;
    while goes_on {
        while let Err(error) = ring.submit_and_wait(1) {
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}");
        }
        let done: Vec<_> = ring.completion().collect();
        for completion in done {
            assert_eq!(completion.user_data(), BELL);
            assert!(completion.result() > 0, "{}", std::io::Error::from_raw_os_error(-completion.result()));
            if !cqueue::more(completion.flags()) {
                submit(&mut ring);
            }
            goes_on = goes_on && scene.poll();
        }
    }
}

/// Reads all events of a loop's subscriber. Returns their number.
fn on_readable(bell: &PullBell, subscriber: &mut Subscriber) -> u64 {
    let mut events = 0;
    loop {
        while subscriber.try_next().unwrap().is_some() {
            events += 1;
        }
        if !bell.arm(subscriber).unwrap() {
            return events;
        }
    }
}

#[test]
fn g19_a_subscriber_in_an_edge_triggered_loop() {
    let (_name, bus) = bus(&small());
    let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
    let bell = subscriber.bell_with(&BellOptions::new().interval(HOUR)).unwrap();
    let (ask, posting) = poster(&bus);
    let set = epoll::create(CreateFlags::CLOEXEC).unwrap();
    epoll::add(&set, &bell, EventData::new_u64(BELL), EventFlags::IN | EventFlags::ET).unwrap();
    let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }];
    let (mut read, mut asked) = (0, 0);
    while read < EVENTS {
        rustix::io::retry_on_intr(|| epoll::wait(&set, &mut events, None)).unwrap();
        read += on_readable(&bell, &mut subscriber);
        if read == asked && asked < EVENTS {
            ask.send(()).unwrap();
            asked += 1;
        }
    }
    drop(ask);
    posting.join().unwrap();
    assert_eq!((read, asked), (EVENTS, EVENTS));
}
