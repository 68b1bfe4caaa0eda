//! Joins, leaves, sleeps, and workers that must read.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use seqcast::{Bus, Delivery, Start, WorkerOptions};
use seqcast_testkit::{Noted, alone, poll, quiet};

use crate::payload;
use crate::posts::{nothing_is_heard, post_is_whole};
use crate::scene::{Scene, hasty};
use crate::steps::{killed_and_stopped_at_every_step, killed_and_stopped_with_large};

fn join(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let bus = bus.clone();
    Box::new(move || {
        std::mem::forget(bus.join_with(&WorkerOptions::new().label("joins")).unwrap());
        0
    })
}

fn leave(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    worker.reconfigure(|options| options.announce(true).label("leaves")).unwrap();
    Box::new(move || {
        worker.leave().unwrap();
        0
    })
}

/// So short that a stopped reader delays the scene for a moment only.
fn must_read() -> WorkerOptions {
    hasty().must_read(Duration::from_millis(4))
}

/// Joins, reads what is there, and leaves, as a reader that posts wait for.
fn join_and_leave_as_a_reader(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let bus = bus.clone();
    Box::new(move || {
        let worker = bus.join_with(&must_read().start(Start::Oldest)).unwrap();
        poll(&worker);
        worker.leave().unwrap();
        0
    })
}

/// Goes on reading after it was cut off.
fn go_on_after_a_cut(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    // A whole ring behind, so that one post cuts it off and no listener is lapped.
    let mut reader = bus.subscribe_with(&must_read().start(Start::Oldest)).unwrap();
    bus.publisher_with(&quiet()).unwrap().post(("s", "filler"), b"").unwrap();
    Box::new(move || {
        let Some(Delivery::Lagged { cut_off: true, .. }) = reader.try_next().unwrap() else { panic!("not cut off") };
        while reader.try_next().unwrap().is_some() {}
        0
    })
}

/// Cuts off a reader, and posts.
fn cut_off_and_post(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let reader = bus.subscribe_with(&must_read().start(Start::Oldest)).unwrap();
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    Box::new(move || {
        let id = publisher.post(("s", "post"), payload(40)).unwrap();
        std::mem::forget(reader);
        id
    })
}

fn sleep(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || u64::from(worker.wait(Duration::from_millis(1)).unwrap()))
}

fn may_announce(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    assert!(heard.len() <= 1 && heard.len() >= usize::from(said.is_some()));
    assert!(
        heard
            .iter()
            .all(|seen| seen.source == seqcast::library::SOURCE && (seen.bytes == b"joins" || seen.bytes == b"leaves"))
    );
}

alone! {
    fn g7_g8_a_join_adopts_a_large_hand() {
        killed_and_stopped_with_large(join, 15, may_announce);
    }

    fn g7_g8_a_join_takes_no_seat_away() {
        killed_and_stopped_at_every_step(join, 15, may_announce);
    }

    fn g7_g8_a_leave_takes_no_seat_away() {
        killed_and_stopped_at_every_step(leave, 5, may_announce);
    }

    fn g7_g8_g17_a_reader_that_joins_and_leaves_holds_nobody_up_endlessly() {
        killed_and_stopped_at_every_step(join_and_leave_as_a_reader, 20, nothing_is_heard);
    }

    fn g7_g8_g17_a_reader_that_goes_on_holds_nobody_up_endlessly() {
        killed_and_stopped_at_every_step(go_on_after_a_cut, 8, nothing_is_heard);
    }

    fn g7_g8_g17_a_post_that_cuts_a_reader_off_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(cut_off_and_post, 12, post_is_whole);
    }

    fn g7_g8_a_sleeper_delays_nobody() {
        killed_and_stopped_at_every_step(sleep, 1, nothing_is_heard);
    }
}
