//! Payloads that are written where they are posted from.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use seqcast::{Bus, Delivery, ErrorKind, Publisher, SegmentOptions, Sink};
use seqcast_testkit::{HOUR, alone, bus, listener, poll, quiet, small};

/// Bytes that identify their message and their position in it.
fn payload(message: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31) ^ message.wrapping_mul(7) ^ (i >> 8)) as u8).collect()
}

/// Writes `bytes` in pieces, whose lengths `random` draws.
fn put_in_pieces(sink: &mut Sink<'_>, bytes: &[u8], random: &mut fastrand::Rng) -> seqcast::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let (piece, rest) = left.split_at(random.usize(0..left.len().min(40) + 1));
        assert_eq!((sink.written(), sink.left()), (bytes.len() - left.len(), left.len()));
        if random.bool() {
            sink.put(piece)?
        } else {
            sink.write_all(piece).unwrap()
        }
        left = rest;
    }
    Ok(())
}

/// Segments in which a payload goes into a block, a large block or fragments.
fn options() -> SegmentOptions {
    small().block_size(512).large(4, 1000).claims(4096)
}

/// Posts an event, and checks that the next id is its id: no failed call before it has taken one.
fn check_next(bus: &Bus, publisher: &mut Publisher) {
    let next = bus.next_id();
    assert_eq!(publisher.post(("s", "e"), "whole").unwrap(), next, "something was posted");
    assert!(bus.audit().unwrap().is_clean());
}

alone! {
    fn g3_every_length_arrives_as_it_was_written() {
        let (_name, bus) = bus(&options());
        let (worker, log) = listener(&bus, &quiet());
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        for len in (0..1400).step_by(3).chain(460..500) {
            let bytes = payload(len as u64, len);
            let mut random = random.fork();
            let fill = |sink: &mut Sink<'_>| put_in_pieces(sink, &bytes, &mut random);
            // Each way writes the words that the last one has left behind.
            let id = match len % 4 {
                0 => publisher.post_with(("s", "e"), len, fill),
                1 => worker.post_with(("s", "e"), len, fill),
                2 => publisher.event(("s", "e")).unique(&bus.next_id().to_le_bytes()).ttl(HOUR).post_with(len, fill),
                _ if len < 400 => publisher.event(("s", "e")).retain_key("k").post_with(len, fill),
                _ => publisher.post_with(("s", "e"), len, fill),
            };
            assert_eq!(poll(&worker), (1, 0), "{len} bytes");
            let seen = log.drain().remove(0);
            assert!((seen.id, seen.bytes) == (Some(id.unwrap()), bytes), "{len} bytes");
        }
        let mut reservation = worker.reserve().unwrap();
        reservation.event(("s", "e")).post_with(3, |sink| sink.put(b"abc")).unwrap();
        assert_eq!((poll(&worker), log.drain().remove(0).bytes), ((1, 0), b"abc".to_vec()));
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g5_what_is_not_written_as_announced_is_not_posted() {
        let (_name, bus) = bus(&options());
        let worker = bus.join_with(&quiet()).unwrap();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        for len in [1, 8, 100, 400, 900, 1300] {
            let next = bus.next_id();
            let bytes = payload(0, len + 1);
            let short = |sink: &mut Sink<'_>| sink.put(&bytes[..len - 1]);
            let long = |sink: &mut Sink<'_>| sink.put(&bytes);
            // An error that the closure drops counts all the same.
            let hidden = |sink: &mut Sink<'_>| {
                sink.put(&bytes[..len])?;
                assert!(sink.put(&[0]).is_err() && sink.write(&[0]).is_err());
                assert_eq!((sink.written(), sink.left()), (len, 0));
                Ok(())
            };
            let fails = |_: &mut Sink<'_>| SegmentOptions::new().capacity(0).anonymous().map(drop);
            let errors = [
                publisher.post_with(("s", "e"), len, short).unwrap_err(),
                publisher.post_with(("s", "e"), len, long).unwrap_err(),
                publisher.post_with(("s", "e"), len, hidden).unwrap_err(),
                publisher.post_with(("s", "e"), len, fails).unwrap_err(),
                publisher.event(("s", "e")).retain().post_with(len, short).unwrap_err(),
                worker.post_with(("s", "e"), len, short).unwrap_err(),
                worker.post_with(("s", "e"), len, hidden).unwrap_err(),
            ];
            assert!(errors.iter().all(|error| error.kind() == ErrorKind::Option), "{errors:?}");
            assert!(errors[0].to_string().contains(&format!("{}", len - 1)), "{}", errors[0]);
            assert_eq!(bus.next_id(), next);
            check_next(&bus, &mut publisher);
        }
        let largest = bus.largest_event();
        let refusal = publisher.post_with(("s", "e"), largest + 1, |_| panic!("it is not called")).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::PayloadTooLarge);
        let refusal = publisher.post_with(("s", "e"), usize::MAX, |_| panic!("it is not called")).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::PayloadTooLarge);
        assert!(worker.post_with(("s", "e"), usize::MAX, |_| Ok(())).is_err());
    }

    fn g11_a_panic_leaves_nothing_behind_and_other_handles_post_meanwhile() {
        let (_name, bus) = bus(&options());
        let (worker, log) = listener(&bus, &quiet());
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        for len in [100, 900, 1300] {
            let fill = |sink: &mut Sink<'_>| {
                sink.put(&payload(1, len / 2))?;
                panic!("in the middle")
            };
            assert!(catch_unwind(AssertUnwindSafe(|| publisher.post_with(("s", "e"), len, fill))).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| worker.post_with(("s", "e"), len, fill))).is_err());
            check_next(&bus, &mut publisher);
            assert_eq!((poll(&worker), log.drain().remove(0).bytes), ((1, 0), b"whole".to_vec()));
            // Inside, the worker posts and polls: the order of ids is the order of the exchanges.
            let nested = |sink: &mut Sink<'_>| {
                worker.post(("s", "inner"), "")?;
                assert_eq!(poll(&worker), (1, 0));
                sink.put(&payload(2, len))
            };
            publisher.post_with(("s", "outer"), len, nested).unwrap();
            assert_eq!(poll(&worker), (1, 0));
            worker.post_with(("s", "outer"), len, nested).unwrap();
            assert_eq!(poll(&worker), (1, 0));
            assert_eq!(log.events(), ["inner", "outer", "inner", "outer"]);
            assert!(log.drain().iter().skip(1).step_by(2).all(|seen| seen.bytes == payload(2, len)));
        }
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g12_a_child_that_was_forked_while_a_payload_is_written_cannot_write_it() {
        let (_name, bus) = bus(&options());
        let (worker, log) = listener(&bus, &quiet());
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        let parent = std::process::id();
        let posted = publisher.post_with(("s", "e"), 100, |sink| {
            sink.put(&payload(3, 50))?;
            // SAFETY: the child only returns and exits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // The sink's words are its parent's private block.
                let is_refused = sink.put(&[0; 50]).is_err_and(|error| error.kind() == ErrorKind::Forked);
                assert!(is_refused);
                return Ok(());
            }
            let mut status = 0;
            // SAFETY: the status is writable.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 7 << 8, "the child was refused");
            sink.put(&payload(3, 100)[50..])
        });
        if std::process::id() != parent {
            let is_refused = posted.is_err();
            // SAFETY: ends the process.
            unsafe { libc::_exit(if is_refused { 7 } else { 1 }) };
        }
        posted.unwrap();
        assert_eq!((poll(&worker), log.drain().remove(0).bytes), ((1, 0), payload(3, 100)));
    }

    fn g16_a_filled_block_waits_for_room_and_is_posted_whole() {
        const EVENTS: u64 = 200;
        let (_name, bus) = bus(&options().capacity(8).most_patience(HOUR));
        let mut reader = bus.subscribe_with(&quiet().must_read(HOUR)).unwrap();
        let filled = AtomicU64::new(0);
        let len = |event: u64| if event.is_multiple_of(3) { 900 } else { 300 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut publisher = bus.publisher_with(&quiet()).unwrap();
                for event in 0..EVENTS {
                    let fill = |sink: &mut Sink<'_>| {
                        filled.fetch_add(1, Ordering::Relaxed);
                        sink.put(&payload(event, len(event)))
                    };
                    publisher.post_with(("s", "e"), len(event), fill).unwrap();
                }
            });
            // The ring is full, and the writer waits with a block that is written.
            while bus.next_id() < 8 {
                std::thread::yield_now();
            }
            for event in 0..EVENTS {
                let visited = reader.visit(HOUR, |_, words| words.to_vec()).unwrap();
                let Some((Delivery::Event(_), Some(bytes))) = visited else { panic!("{event}: {visited:?}") };
                assert!(bytes == payload(event, len(event)), "{event}");
            }
        });
        assert_eq!(filled.into_inner(), EVENTS, "each payload is written once");
        assert!(bus.audit().unwrap().is_clean());
    }
}
