//! Tests of what goes to other hosts and comes from them, with a relay in this process. C programs have no relay.

use std::ffi::c_int;
use std::{ptr, slice};

use seqcast::relay::{Foreign, Kept, Outgoing, OutgoingKind, RelayOptions, RelayReader};
use seqcast::{Bus, ClusterId, MissedReason, Origin, SegmentOptions};
use seqcast_testkit::Name;

use crate::bus::{BUSES, seqcast_bus, seqcast_bus_free, seqcast_bus_origin};
use crate::delivery::{seqcast_delivery, seqcast_kind, seqcast_missed_reason};
use crate::failure::seqcast_error::SEQCAST_E_NO_RELAY;
use crate::inspect::{
    seqcast_inspector_free, seqcast_inspector_open, seqcast_inspector_tail, seqcast_seen, seqcast_seen_kind,
    seqcast_tail, seqcast_tail_free, seqcast_tail_next, seqcast_tail_options,
};
use crate::options::{seqcast_post_options, seqcast_seat_options};
use crate::seat::post::seqcast_seat_post;
use crate::seat::read::seqcast_seat_next;
use crate::seat::retained::seqcast_seat_clear_cluster;
use crate::seat::{seqcast_bus_subscribe, seqcast_seat, seqcast_seat_free};

/// A segment with a seat and a tail.
struct Host {
    bus: Bus,
    handle: *mut seqcast_bus,
    seat: *mut seqcast_seat,
    tail: *mut seqcast_tail,
    _name: Name,
}

impl Host {
    fn new() -> Host {
        let name = Name::new();
        let bus = SegmentOptions::new().unlink_on_drop(true).create(&name).unwrap();
        let handle = BUSES.insert(bus.clone()).unwrap();
        let (mut seat, mut inspector, mut tail) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: all pointers lead to local variables, and zero is a value of every option.
        unsafe {
            let mut options = std::mem::zeroed::<seqcast_seat_options>();
            (options.size, options.silent) = (size_of::<seqcast_seat_options>(), 1);
            assert_eq!(seqcast_bus_subscribe(handle, &raw const options, &raw mut seat), 0);
            assert_eq!(seqcast_inspector_open(name.as_ptr().cast(), name.len(), &raw mut inspector), 0);
            let mut options = std::mem::zeroed::<seqcast_tail_options>();
            options.size = size_of::<seqcast_tail_options>();
            assert_eq!(seqcast_inspector_tail(inspector, &raw const options, &raw mut tail), 0);
        }
        assert_eq!(seqcast_inspector_free(inspector), 0);
        Host { bus, handle, seat, tail, _name: name }
    }

    /// Posts "s", "e" for all hosts, with `set` options.
    fn post(&self, set: impl FnOnce(&mut seqcast_post_options)) -> c_int {
        // SAFETY: zero is a value of every option, and all pointers lead to constants or local variables.
        unsafe {
            let mut options = std::mem::zeroed::<seqcast_post_options>();
            (options.size, options.cluster) = (size_of::<seqcast_post_options>(), 1);
            set(&mut options);
            let (source, event, payload) = (c"s".as_ptr(), c"e".as_ptr(), c"p".as_ptr().cast());
            seqcast_seat_post(self.seat, source, 1, event, 1, payload, 1, &raw const options, ptr::null_mut())
        }
    }

    fn clear(&self) -> c_int {
        let (source, event, key) = (c"s".as_ptr(), c"e".as_ptr(), c"k".as_ptr());
        // SAFETY: all pointers lead to constants, or are null.
        unsafe { seqcast_seat_clear_cluster(self.seat, source, 1, event, 1, key, 1, ptr::null_mut()) }
    }

    /// Returns the next delivery, or `None` if there is nothing new.
    fn next(&self) -> Option<&seqcast_delivery> {
        let mut delivery = ptr::null();
        // SAFETY: the pointer leads to a local variable.
        let outcome = unsafe { seqcast_seat_next(self.seat, 0, &raw mut delivery) };
        assert!(outcome >= 0);
        // SAFETY: it is valid until the next call, and the test uses it before.
        (outcome > 0).then(|| unsafe { &*delivery })
    }

    /// Returns the next step of the tail.
    fn seen(&self) -> &seqcast_seen {
        let mut seen = ptr::null();
        // SAFETY: the pointer leads to a local variable, and the test uses the step before the next call.
        unsafe {
            assert_eq!(seqcast_tail_next(self.tail, &raw mut seen), 1);
            &*seen
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        seqcast_tail_free(self.tail);
        seqcast_seat_free(self.seat);
        seqcast_bus_free(self.handle);
    }
}

fn key(seen: &seqcast_seen) -> &[u8] {
    // SAFETY: no pointer of a step is null, and the test uses it before the next call.
    unsafe { slice::from_raw_parts(seen.retained_key.cast(), seen.retained_key_len) }
}

/// Takes what the relay is asked for: the kind, whether it is unique, and how it is retained.
fn request(reader: &mut RelayReader) -> (OutgoingKind, bool, Option<(Vec<u8>, bool)>) {
    loop {
        if let Some(Outgoing::Event(event)) = reader.try_next().unwrap() {
            assert_eq!((event.source, event.event), ("s", "e"));
            let retained = event.retained.map(|kept| (kept.key.to_vec(), kept.clears));
            return (event.kind, event.unique.is_some(), retained);
        }
    }
}

#[test]
fn what_is_for_all_hosts_is_a_request_to_the_relay() {
    let host = Host::new();
    assert_eq!(host.post(|_| ()), SEQCAST_E_NO_RELAY as c_int);
    assert_eq!(host.clear(), SEQCAST_E_NO_RELAY as c_int);
    let (mut reader, _poster) = host.bus.relay(&RelayOptions::new()).unwrap().split();
    assert_eq!(host.post(|_| ()), 0);
    assert_eq!(host.post(|options| (options.key, options.key_len, options.ttl_ns) = (c"u".as_ptr(), 1, 7)), 0);
    assert_eq!(
        host.post(|options| (options.retain, options.retain_key, options.retain_key_len) = (1, c"k".as_ptr(), 1)),
        0
    );
    assert_eq!(host.clear(), 1);
    assert_eq!(host.post(|options| options.cluster = 0), 0);

    assert_eq!(request(&mut reader), (OutgoingKind::Ordered, false, None));
    assert_eq!(request(&mut reader), (OutgoingKind::Ordered, true, None));
    assert_eq!(request(&mut reader), (OutgoingKind::Ordered, false, Some((b"k".to_vec(), false))));
    assert_eq!(request(&mut reader), (OutgoingKind::Ordered, false, Some((b"k".to_vec(), true))));
    assert_eq!(request(&mut reader), (OutgoingKind::Local, false, None));

    let plain = host.next().unwrap();
    assert_eq!((plain.kind, plain.id, plain.has_origin, plain.bridged), (seqcast_kind::SEQCAST_EVENT as i32, 4, 0, 0));
    assert!(host.next().is_none(), "requests are for the relay alone");
    let expected =
        [(1, 0, 0, 0, &b""[..]), (1, 7, 0, 0, b""), (1, 0, 1, 0, b"k"), (1, 0, 1, 1, b"k"), (0, 0, 0, 0, b"")];
    for expected in expected {
        let seen = host.seen();
        assert_eq!((seen.request, seen.ttl_ns, seen.retained, seen.clears, key(seen)), expected);
        assert_eq!((seen.kind, seen.has_origin), (seqcast_seen_kind::SEQCAST_SEEN_EVENT as i32, 0));
    }
}

#[test]
fn what_comes_from_another_host_names_it_and_its_place() {
    let host = Host::new();
    let mut own = 0;
    // SAFETY: the pointer leads to a local variable.
    assert_eq!(unsafe { seqcast_bus_origin(host.handle, &raw mut own) }, 0);
    assert_eq!(own, host.bus.origin().bits());
    let (_reader, mut poster) = host.bus.relay(&RelayOptions::new()).unwrap().split();
    let (origin, place) = (Origin::from_bits(0xfeed), ClusterId { timeline: 3, n: 9 });
    let kept = Kept { key: b"k", ttl: None, clears: false };
    assert!(poster.post(&Foreign::new(origin, 17, place, "s", "e", b"p").retained(kept)).unwrap());
    poster.missed(Some(4), Some(origin), MissedReason::Trimmed).unwrap();
    poster.missed(None, None, MissedReason::EngineLost).unwrap();

    let event = host.next().unwrap();
    assert_eq!((event.kind, event.has_origin, event.origin), (seqcast_kind::SEQCAST_EVENT as i32, 1, 0xfeed));
    assert_eq!((event.cluster_timeline, event.cluster_n, event.retained), (3, 9, 1));
    let missed = host.next().unwrap();
    assert_eq!((missed.kind, missed.missed, missed.id), (seqcast_kind::SEQCAST_MISSED as i32, 4, 1));
    assert_eq!((missed.has_origin, missed.origin, missed.cut_off), (1, 0xfeed, 0));
    assert_eq!(missed.missed_reason, seqcast_missed_reason::SEQCAST_MISSED_TRIMMED as i32);
    let missed = host.next().unwrap();
    assert_eq!((missed.missed, missed.has_origin, missed.origin), (0, 0, 0));
    assert_eq!(missed.missed_reason, seqcast_missed_reason::SEQCAST_MISSED_ENGINE_LOST as i32);

    let seen = host.seen();
    assert_eq!((seen.has_origin, seen.origin, seen.origin_id, seen.request), (1, 0xfeed, 17, 0));
    assert_eq!((seen.cluster_timeline, seen.cluster_n, key(seen)), (3, 9, &b"k"[..]));
    let seen = host.seen();
    assert_eq!((seen.kind, seen.id, seen.missed), (seqcast_seen_kind::SEQCAST_SEEN_MISSED as i32, 1, 4));
    assert_eq!((seen.has_origin, seen.origin), (1, 0xfeed));
    assert_eq!(seen.missed_reason, seqcast_missed_reason::SEQCAST_MISSED_TRIMMED as i32);
    assert_eq!(host.seen().has_origin, 0);
}

/// The reasons have the numbers of the crate.
#[test]
fn every_reason_has_its_number() {
    let missed = |reason| {
        let host = SegmentOptions::new().anonymous().unwrap();
        let mut seat = host.subscribe().unwrap();
        host.relay(&RelayOptions::new()).unwrap().split().1.missed(Some(1), None, reason).unwrap();
        let missed = std::iter::from_fn(|| seat.try_next().unwrap().map(|delivery| delivery.gap())).flatten().next();
        seqcast_missed_reason::of(&missed.expect("it was told")) as u8
    };
    for &reason in MissedReason::ALL.iter().filter(|&&reason| reason != MissedReason::Lapped) {
        assert_eq!(missed(reason), reason as u8, "{reason:?}");
    }
}
