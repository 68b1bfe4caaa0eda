//! Payloads that are written into a private block while users' code runs: typed values that are long, and payloads that
//! a worker produces in place.

#![cfg(feature = "typed")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use rkyv::rancor::{self, Fallible};
use rkyv::{Archive, Place, Serialize};
use seqcast::{Bus, ErrorKind, SegmentOptions, Sink, Topic, TypedEvent, Worker};
use seqcast_testkit::process::{Child, HANGS};
use seqcast_testkit::{HOUR, alone, bus, listener, poll, quiet, small};

/// Bytes that identify their message and their position in it.
fn payload(message: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31) ^ message.wrapping_mul(7) ^ (i >> 8)) as u8).collect()
}

/// Calls a function when it is archived.
struct Hook(Rc<dyn Fn()>);

impl Archive for Hook {
    type Archived = ();
    type Resolver = ();

    fn resolve(&self, (): (), _: Place<()>) {}
}

impl<S: Fallible + ?Sized> Serialize<S> for Hook {
    fn serialize(&self, _: &mut S) -> Result<(), S::Error> {
        (self.0)();
        Ok(())
    }
}

#[derive(Archive, Serialize)]
struct Page {
    url: String,
    first: Vec<u8>,
    words: Vec<u64>,
    tags: Vec<String>,
    hook: Hook,
    last: Vec<u8>,
}

impl TypedEvent for Page {
    const TOPIC: Topic<'static> = Topic::new("s", "page");
}

impl Page {
    /// A value of about `len` bytes in each of its parts, which calls `hook` when half of it is archived.
    fn of(message: u64, len: usize, hook: impl Fn() + 'static) -> Page {
        Page {
            url: "https://example.org/".to_owned(),
            first: payload(message, len),
            words: (0..len as u64 / 40).map(|word| word * message).collect(),
            tags: (0..len / 40).map(|tag| "tag ".repeat(tag % 9)).collect(),
            hook: Hook(Rc::new(hook)),
            last: payload(message + 1, len / 5),
        }
    }

    fn plain(message: u64, len: usize) -> Page {
        Page::of(message, len, || {})
    }

    fn bytes(&self) -> Vec<u8> {
        rkyv::to_bytes::<rancor::Error>(self).unwrap().to_vec()
    }
}

/// Segments in which a long payload goes into a block, a large block, or fragments; and from one into the next.
fn segments() -> [SegmentOptions; 5] {
    [
        small(),
        small().large(4, 30_000),
        small().block_size(120_000).capacity(16),
        small().block_size(22_000).large(4, 40_000),
        small().block_size(22_000).capacity(16),
    ]
}

/// Checks that nothing but the next post takes the next id.
fn check_next(bus: &Bus, worker: &Worker, next: u64) {
    assert_eq!(worker.post(("s", "e"), "whole").unwrap(), next, "something was posted");
    assert!(bus.audit().unwrap().is_clean());
}

alone! {
    fn g3_a_typed_value_of_every_length_arrives_as_it_is_archived() {
        for options in segments() {
            let (_name, bus) = bus(&options.capacity(1024));
            let (worker, log) = listener(&bus, &quiet());
            let mut publisher = bus.publisher_with(&quiet()).unwrap();
            let mut post = |page: &Page, way: usize| match way % 3 {
                0 => worker.post(Page::TOPIC, page),
                1 => publisher.post(Page::TOPIC, page),
                _ => worker.event(Page::TOPIC).unique(&bus.next_id().to_le_bytes()).ttl(HOUR).post(page),
            };
            for len in (0..800).step_by(97).chain((5_000..12_000).step_by(533)).chain((12_000..46_000).step_by(3_001)) {
                let page = Page::plain(len as u64, len);
                let expected = page.bytes();
                let largest = bus.largest_event();
                let posted = post(&page, len);
                if expected.len() + 64 > largest {
                    assert_eq!(posted.unwrap_err().kind(), ErrorKind::PayloadTooLarge, "{} bytes", expected.len());
                    continue;
                }
                assert_eq!(poll(&worker), (1, 0), "{} bytes", expected.len());
                let seen = log.drain().remove(0);
                assert_eq!(seen.id, Some(posted.unwrap()));
                assert!(seen.bytes == expected, "{} bytes", expected.len());
            }
            // Its parts are shorter and longer than the words and the pieces that are stored at once.
            for tail in 0..24 {
                let (last, url) = (payload(9, tail), "u".repeat(tail / 3));
                let page = Page { last, url, ..Page::plain(tail as u64, 17_000) };
                let expected = page.bytes();
                if post(&page, tail).is_ok() {
                    assert_eq!(poll(&worker), (1, 0));
                    assert!(log.drain().remove(0).bytes == expected, "{} bytes", expected.len());
                }
            }
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g5_a_value_whose_archiving_panics_or_that_is_too_long_is_not_posted() {
        for options in segments() {
            let (_name, bus) = bus(&options);
            let worker = bus.join_with(&quiet()).unwrap();
            let mut publisher = bus.publisher_with(&quiet()).unwrap();
            for len in [100, 17_000, 21_000, 29_000] {
                let next = bus.next_id();
                let page = Page::of(1, len, || panic!("in the middle"));
                assert!(catch_unwind(AssertUnwindSafe(|| worker.post(Page::TOPIC, &page))).is_err());
                check_next(&bus, &worker, next);
                assert!(catch_unwind(AssertUnwindSafe(|| publisher.post(Page::TOPIC, &page))).is_err());
                check_next(&bus, &worker, next + 1);
            }
            let (next, page) = (bus.next_id(), Page::plain(1, bus.largest_event()));
            for error in [worker.post(Page::TOPIC, &page), publisher.post(Page::TOPIC, &page)] {
                assert_eq!(error.unwrap_err().kind(), ErrorKind::PayloadTooLarge);
            }
            check_next(&bus, &worker, next);
            // A draft is over when its post is: the next one is written in place, too.
            let page = Page::plain(2, 1_000);
            worker.post(Page::TOPIC, &page).unwrap();
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g3_a_value_that_posts_by_its_own_worker_while_it_is_archived_arrives_whole() {
        for options in segments() {
            let (_name, bus) = bus(&options.capacity(1024));
            let (worker, log) = listener(&bus, &quiet());
            for len in [100, 16_500, 19_000, 26_000] {
                for nested in [50, 17_000, 24_000] {
                    let inner = worker.clone();
                    let page = Page::of(1, len, move || {
                        inner.post(Page::TOPIC, &Page::plain(7, nested)).unwrap();
                        inner.post(("s", "e"), payload(8, 200)).unwrap();
                        let fill = |sink: &mut Sink<'_>| sink.put(&payload(6, nested));
                        inner.post_with(("s", "e"), nested, fill).unwrap();
                    });
                    let Ok(_) = worker.post(Page::TOPIC, &page) else { panic!("{len} and {nested} bytes") };
                    assert_eq!(poll(&worker), (4, 0));
                    let seen: Vec<_> = log.drain().into_iter().map(|seen| seen.bytes).collect();
                    let page = Page::plain(1, len);
                    let expected = [Page::plain(7, nested).bytes(), payload(8, 200), payload(6, nested), page.bytes()];
                    assert!(seen == expected, "{len} bytes, and {nested} in between");
                    assert!(bus.audit().unwrap().is_clean());
                }
            }
        }
    }

    fn g3_threads_that_draft_and_post_by_one_worker_disturb_no_payload() {
        const EACH: u64 = 200;
        for options in [small().large(4, 30_000), small().block_size(40_000)] {
            let (_name, bus) = bus(&options.capacity(1024));
            let (worker, log) = listener(&bus, &quiet());
            let lens = [30, 2_000, 17_000, 25_000];
            std::thread::scope(|scope| {
                for thread in 0..3_u64 {
                    let worker = &worker;
                    scope.spawn(move || {
                        for event in 0..EACH {
                            let message = thread * EACH + event;
                            let len = lens[(message % 4) as usize];
                            let bytes = payload(message, len);
                            let head = message.to_le_bytes();
                            match (thread + event) % 3 {
                                0 => worker.post(("s", "e"), [&head[..], &bytes].concat()).map(drop).unwrap(),
                                _ => worker
                                    .post_with(("s", "e"), len + 8, |sink| {
                                        sink.put(&head)?;
                                        bytes.chunks(700).try_for_each(|piece| sink.put(piece))
                                    })
                                    .map(drop)
                                    .unwrap(),
                            }
                        }
                    });
                }
                let mut found = 0;
                while found < 3 * EACH {
                    let (delivered, missed) = poll(&worker);
                    found += delivered + missed;
                    for seen in log.drain() {
                        let (head, bytes) = seen.bytes.split_first_chunk().unwrap();
                        let message = u64::from_le_bytes(*head);
                        assert!(*bytes == payload(message, lens[(message % 4) as usize]), "{message}");
                    }
                }
            });
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g3_a_worker_that_posts_by_itself_while_it_writes_a_payload_posts_both_whole() {
        let (_name, bus) = bus(&small().block_size(6000).large(4, 20_000));
        let (worker, log) = listener(&bus, &quiet());
        for len in [1024, 4_000, 5_000, 15_000, 25_000] {
            let fill = |sink: &mut Sink<'_>| {
                sink.put(&payload(1, len)[..len / 3])?;
                worker.post(("s", "e"), "first")?;
                sink.put(&payload(1, len)[len / 3..len / 2])?;
                worker.post_with(("s", "e"), 4_500, |sink| {
                    worker.post(("s", "e"), "second")?;
                    sink.put(&payload(2, 4_500))
                })?;
                assert_eq!(poll(&worker), (3, 0));
                sink.put(&payload(1, len)[len / 2..])
            };
            worker.post_with(("s", "e"), len, fill).unwrap();
            assert_eq!(poll(&worker), (1, 0));
            let seen: Vec<_> = log.drain().into_iter().map(|seen| seen.bytes).collect();
            let expected = [b"first".to_vec(), b"second".to_vec(), payload(2, 4_500), payload(1, len)];
            assert!(seen == expected, "{len} bytes");
            // What fails in the middle gives the block back.
            let fails = |sink: &mut Sink<'_>| {
                sink.put(&payload(1, len)[..len / 2])?;
                panic!("in the middle")
            };
            assert!(catch_unwind(AssertUnwindSafe(|| worker.post_with(("s", "e"), len, fails))).is_err());
            check_next(&bus, &worker, bus.next_id());
            assert_eq!((poll(&worker), log.drain().len()), ((1, 0), 1));
        }
    }

    fn g8_a_worker_that_leaves_while_a_payload_is_written_posts_nothing() {
        let (_name, bus) = bus(&small().block_size(8192));
        for len in [100, 6_000] {
            let (worker, next) = (bus.join_with(&quiet()).unwrap(), bus.next_id());
            let mut successor = None;
            let left = worker.post_with(("s", "e"), len, |sink| {
                sink.put(&payload(1, len)[..len / 2])?;
                worker.clone().leave().unwrap();
                // It takes the seat, and with it the block.
                let other = bus.join_with(&quiet()).unwrap();
                assert_eq!(other.seat(), worker.seat());
                other.post(("s", "e"), "of the successor")?;
                successor = Some(other);
                let rest = sink.put(&payload(1, len)[len / 2..]);
                assert!(len < 4096 || rest.is_err_and(|error| error.kind() == ErrorKind::Left));
                Ok(())
            });
            assert!(left.is_err());
            assert_eq!(bus.next_id(), next + 1);
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g7_a_process_that_is_killed_while_it_writes_a_payload_leaves_a_block_that_its_successor_uses() {
        let (_name, bus) = bus(&small().block_size(6000).large(4, 40_000));
        let (worker, log) = listener(&bus, &quiet());
        for round in 0..6 {
            let name = bus.name().to_owned();
            let killed = Child::fork(move || {
                let die = || {
                    // SAFETY: a system call without pointers.
                    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
                };
                let bus = Bus::open(&name).unwrap();
                let worker = bus.join_with(&quiet()).unwrap();
                let len = [5_000, 15_000][round % 2];
                match round / 2 {
                    0 => drop(worker.post_with(("s", "e"), len, |sink| {
                        sink.put(&payload(1, len / 2))?;
                        die();
                        Ok(())
                    })),
                    1 => drop(worker.post(Page::TOPIC, &Page::of(1, len + 17_000, die))),
                    _ => drop(bus.publisher_with(&quiet()).unwrap().post(Page::TOPIC, &Page::of(1, 17_000, die))),
                }
            });
            assert!(!killed.ended_well());
            let (next, adopter) = (bus.next_id(), bus.join_with(&quiet()).unwrap());
            adopter.post(("s", "e"), payload(3, 3_000)).unwrap();
            adopter.post(Page::TOPIC, &Page::plain(4, 18_000)).unwrap();
            assert_eq!((bus.next_id(), poll(&worker)), (next + 2, (2, 0)));
            let seen: Vec<_> = log.drain().into_iter().map(|seen| seen.bytes).collect();
            assert!(seen == [payload(3, 3_000), Page::plain(4, 18_000).bytes()]);
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g12_a_child_that_is_forked_while_a_payload_is_written_writes_and_posts_nothing() {
        let (_name, bus) = bus(&small().block_size(40_000).capacity(16));
        let (worker, log) = listener(&bus, &quiet());
        let parent = std::process::id();
        let fork = || {
            // SAFETY: the child only returns and exits.
            let child = unsafe { libc::fork() };
            if child != 0 {
                let mut status = 0;
                // SAFETY: the status is writable.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert_eq!(status, 7 << 8, "the child was refused");
            }
        };
        let is_child = |posted: &seqcast::Result<u64>| {
            if std::process::id() != parent {
                let is_refused = posted.as_ref().is_err_and(|error| error.kind() == ErrorKind::Forked);
                // SAFETY: ends the process.
                unsafe { libc::_exit(if is_refused { 7 } else { 1 }) };
            }
        };
        let posted = worker.post_with(("s", "e"), 12_000, |sink| {
            sink.put(&payload(3, 12_000)[..6_000])?;
            fork();
            sink.put(&payload(3, 12_000)[6_000..])
        });
        is_child(&posted);
        let page = worker.post(Page::TOPIC, &Page::of(4, 20_000, fork));
        is_child(&page);
        assert_eq!((posted.unwrap() + 1, poll(&worker)), (page.unwrap(), (2, 0)));
        let seen: Vec<_> = log.drain().into_iter().map(|seen| seen.bytes).collect();
        assert!(seen == [payload(3, 12_000), Page::plain(4, 20_000).bytes()]);
    }

    fn g16_a_draft_for_a_large_block_goes_elsewhere_if_a_worker_that_must_read_has_joined() {
        let (_name, bus) = bus(&small().block_size(6000).large(2, 20_000).most_patience(HOUR));
        let worker = bus.join_with(&quiet()).unwrap();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        for of_worker in [true, false] {
            let large = || bus.stats().unwrap().workers.iter().map(|worker| worker.large).sum::<u64>();
            let (before, mut reader) = (large(), None);
            let fill = |sink: &mut Sink<'_>| {
                sink.put(&payload(1, 15_000)[..8_000])?;
                reader = Some(bus.subscribe_with(&quiet().must_read(HOUR))?);
                sink.put(&payload(1, 15_000)[8_000..])
            };
            if of_worker {
                worker.post_with(("s", "e"), 15_000, fill).unwrap();
            } else {
                publisher.post_with(("s", "e"), 15_000, fill).unwrap();
            }
            assert_eq!(large(), before, "the ring of large blocks may lap the reader");
            let delivery = reader.as_mut().unwrap().next(HANGS).unwrap().expect("an event");
            assert!(delivery.event().expect("no lag").bytes() == payload(1, 15_000));
            drop(reader);
            // Without the reader it goes to a large block again.
            worker.post_with(("s", "e"), 15_000, |sink| sink.put(&payload(2, 15_000))).unwrap();
            assert_eq!(large(), before + 1);
        }
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g16_a_draft_that_waits_for_room_is_posted_whole_though_others_post_by_its_worker() {
        const EVENTS: u64 = 100;
        let (_name, bus) = bus(&small().block_size(20_000).capacity(8).most_patience(HOUR));
        let mut reader = bus.subscribe_with(&quiet().must_read(HOUR)).unwrap();
        let worker = bus.join_with(&quiet()).unwrap();
        let filled = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..2_u64 {
                let (worker, filled) = (&worker, &filled);
                scope.spawn(move || {
                    for event in 0..EVENTS {
                        let message = thread * EVENTS + event;
                        let fill = |sink: &mut Sink<'_>| {
                            filled.fetch_add(1, Ordering::Relaxed);
                            sink.put(&message.to_le_bytes())?;
                            sink.put(&payload(message, 5_000))
                        };
                        worker.post_with(("s", "e"), 5_008, fill).unwrap();
                    }
                });
            }
            // The ring is full, and both wait with a payload that is written.
            while bus.next_id() < 8 {
                std::thread::yield_now();
            }
            for _ in 0..2 * EVENTS {
                let delivery = reader.next(HANGS).unwrap().expect("an event");
                let (head, bytes) = delivery.event().expect("no lag").bytes().split_first_chunk().unwrap();
                assert!(*bytes == payload(u64::from_le_bytes(*head), 5_000));
            }
        });
        assert_eq!(filled.into_inner(), 2 * EVENTS, "each payload is written once");
        assert!(bus.audit().unwrap().is_clean());
    }
}
