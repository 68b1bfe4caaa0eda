//! seqcast and its peers: the same payloads, the same cores, alternating batches, and the raw hand-over of cache lines
//! around each batch.
//!
//! ```text
//! cargo run --release -- [--quick] [--only SCENARIO] [--batches N] [--json FILE] [--nice N] [--realtime]
//!                      [--cores near|far [--wait SECONDS]]
//! LUA_WORKER_EVENTS=DIR    a checkout of lua-resty-worker-events, to run on nginx with its Lua module
//! ```
//!
//! Peers that only go from one process to another get a channel for each direction. On a bus all processes hear each
//! other, so both directions share one, and each side skips its own events. ringfire's ring of many producers is
//! measured both ways.

mod bells;
mod iceoryx;
mod ipc;
mod lua;
mod orbit;
mod redis;
mod ringfire_blobs;
mod ringfire_rings;
mod scratch;
mod sockets;
#[path = "../../support/mod.rs"]
mod support;

use std::time::Duration;

use bells::{EventFdTasks, EventFds, IceoryxLoop, OnBell, OnTask, OrbitLoop, UnixLoop};
use iceoryx::Iceoryx;
use ipc::Ipc;
use orbit::Orbit;
use redis::{PubSub, Server};
use ringfire_blobs::Blobs;
use ringfire_rings::{Mpmc, MpmcBus, Spmc};
use sockets::{Pipes, Unix};
use support::batch::{Batch, Length, Of, Wake, flow, one_way, wake, wake_many, wake_one_way};
use support::bus::{OnBus, Pulled, Visited};
use support::series::{Key, Lab, Limit};
use support::table::{Arguments, finish};

const LATENCY: &str = "one way";
const FLOW: &str = "throughput";
const READERS: &str = "one writer, more readers";

/// The lengths of batches.
#[derive(Clone, Copy)]
struct Plan {
    length: Length,
    flow: Duration,
    wakes: usize,
    lua: Duration,
}

fn main() {
    let arguments = Arguments::from_command_line();
    let plan = Plan {
        length: Length { rounds: 10_000, time: Duration::from_millis(20) },
        flow: Duration::from_millis(40),
        wakes: 60,
        lua: Duration::from_millis(if arguments.is_quick() { 150 } else { 300 }),
    };
    let mut lab =
        Lab::new(Length { rounds: 3000, time: Duration::from_millis(10) }, plan.wakes, arguments.wanted_cores());
    let server = Server::start();
    let lua = lua::source();
    for round in 0..arguments.batches(7, 1) {
        for size in [8, 64, 256, 1024, 4096, 16_384, 65_536] {
            each_size(&mut lab, &arguments, plan, &server, size);
            match size {
                8 => each_typed::<8>(&mut lab, &arguments, plan),
                64 => each_typed::<64>(&mut lab, &arguments, plan),
                256 => each_typed::<256>(&mut lab, &arguments, plan),
                1024 => each_typed::<1024>(&mut lab, &arguments, plan),
                4096 => each_typed::<4096>(&mut lab, &arguments, plan),
                _ => {}
            }
        }
        a_mebibyte(&mut lab, &arguments, plan);
        if arguments.wants(READERS) {
            for readers in [1, 2, 4] {
                more_readers(&mut lab, plan, readers);
            }
        }
        if arguments.wants("wake-up") {
            wake_ups(&mut lab, plan);
        }
        event_loops(&mut lab, &arguments, plan);
        // Half a second each: a few are enough.
        if round < 3 && arguments.wants("lua") | arguments.wants(LATENCY) | arguments.wants(FLOW) {
            the_original(&mut lab, plan, &lua);
        }
    }
    drop(server);
    finish("seqcast and its peers", &lab, &arguments);
}

/// Measures one way and throughput of `$channel`, named `$name`.
macro_rules! both {
    ($lab:expr, $arguments:expr, $plan:expr, $size:expr, $name:literal, $channel:expr) => {
        if $arguments.wants(LATENCY) {
            $lab.measure(Key::new(LATENCY, $name, $size), Limit::Lines($size), |board| {
                one_way(board, &$channel, $size, $plan.length)
            });
        }
        if $arguments.wants(FLOW) {
            $lab.measure(Key::new(FLOW, $name, $size), Limit::Lines($size), |board| {
                flow(board, &$channel, $size, 1, 1, $plan.flow)
            });
        }
    };
}

/// Peers with typed items of `N` bytes.
fn each_typed<const N: usize>(lab: &mut Lab, arguments: &Arguments, plan: Plan) {
    both!(lab, arguments, plan, N, "ringfire, many producers", MpmcBus::<N>::new());
    if arguments.wants(LATENCY) {
        let key = Key::new(LATENCY, "ringfire, many producers, a ring each way", N);
        lab.measure(key, Limit::Lines(N), |board| one_way(board, &Mpmc::<N>::new(), N, plan.length));
    }
    both!(lab, arguments, plan, N, "ringfire, one producer", Spmc::<N>::new());
    both!(lab, arguments, plan, N, "orbit-core", Orbit::<N>::new());
}

/// The channels that can carry a mebibyte in one piece, and do not copy it through the kernel.
fn a_mebibyte(lab: &mut Lab, arguments: &Arguments, plan: Plan) {
    const SIZE: usize = 1 << 20;
    both!(lab, arguments, plan, SIZE, "seqcast, in large blocks", OnBus::with_large(SIZE));
    both!(lab, arguments, plan, SIZE, "seqcast, visited in place", Visited(OnBus::with_large(SIZE)));
    both!(lab, arguments, plan, SIZE, "iceoryx2", Iceoryx::new(SIZE));
    both!(lab, arguments, plan, SIZE, "ringfire, one producer, byte strings", Blobs::new(SIZE));
}

/// All other peers, with payloads of `size` bytes.
fn each_size(lab: &mut Lab, arguments: &Arguments, plan: Plan, server: &Result<Server, String>, size: usize) {
    both!(lab, arguments, plan, size, "seqcast", OnBus::for_size(size));
    both!(lab, arguments, plan, size, "seqcast, by a subscriber", Pulled(OnBus::for_size(size)));
    if size > 8192 {
        both!(lab, arguments, plan, size, "seqcast, visited in place", Visited(OnBus::for_size(size)));
    }
    both!(lab, arguments, plan, size, "iceoryx2", Iceoryx::new(size));
    both!(lab, arguments, plan, size, "ipc-channel", Ipc::new());
    both!(lab, arguments, plan, size, "Unix socket", Unix::new(size));
    both!(lab, arguments, plan, size, "pipe", Pipes::new(size));
    if size > 4096 {
        both!(lab, arguments, plan, size, "ringfire, one producer, byte strings", Blobs::new(size));
        for scenario in [LATENCY, FLOW] {
            let why = "its items are passed by value; see its ring of byte strings";
            lab.cannot(Key::new(scenario, "ringfire, many producers", size), why);
        }
    }
    // A round trip takes some hundred microseconds: only the relevant sizes.
    if matches!(size, 64 | 4096) {
        match server {
            Ok(server) => {
                both!(lab, arguments, plan, size, "Redis publish/subscribe", PubSub::on(server));
            }
            Err(why) => {
                lab.cannot(Key::new(LATENCY, "Redis publish/subscribe", size), why);
                lab.cannot(Key::new(FLOW, "Redis publish/subscribe", size), why);
            }
        }
    }
}

/// Peers with several readers that each get everything.
fn more_readers(lab: &mut Lab, plan: Plan, readers: usize) {
    macro_rules! subject {
        ($name:literal, $channel:expr) => {
            let key = Key::new(READERS, $name, 64).with(1, readers);
            lab.measure(key, Limit::Lines(64), |board| flow(board, &$channel, 64, 1, readers, plan.flow));
        };
    }
    subject!("seqcast", OnBus::for_size(64));
    subject!("ringfire, many producers", MpmcBus::<64>::new());
    subject!("ringfire, one producer", Spmc::<64>::new());
    subject!("iceoryx2", Iceoryx::new(64));
    subject!("orbit-core", Orbit::<64>::new());
}

/// Peers that can wake a sleeper.
fn wake_ups(lab: &mut Lab, plan: Plan) {
    for (scenario, place) in [("wake-up on one core", Wake::OneCore), ("wake-up of the other core", Wake::TwoCores)] {
        macro_rules! subject {
            ($name:literal, $channel:expr) => {
                lab.measure(Key::new(scenario, $name, 8), Limit::Futex(place), |board| {
                    wake(board, &$channel, place, plan.wakes)
                });
            };
        }
        subject!("seqcast", OnBus::small());
        subject!("ringfire, many producers", Mpmc::<8>::small());
        subject!("iceoryx2", Iceoryx::small(8));
        subject!("ipc-channel", Ipc::new());
        subject!("Unix socket", Unix::new(8));
        subject!("pipe", Pipes::new(8));
    }
}

/// Subjects that wake an event loop: through a descriptor in an epoll set, or a task of tokio.
fn event_loops(lab: &mut Lab, arguments: &Arguments, plan: Plan) {
    let board = lab.board;
    for (scenario, place) in
        [("event loop on one core", Wake::OneCore), ("event loop on the other core", Wake::TwoCores)]
    {
        if !arguments.wants(scenario) {
            continue;
        }
        macro_rules! subject {
            ($name:literal, $channel:expr) => {
                lab.measure(Key::new(scenario, $name, 8), Limit::FutexOneWay(place), |board| {
                    wake_one_way(board, &$channel, place, 5 * plan.wakes)
                });
            };
        }
        subject!("raw eventfd", EventFds::new(&board, 1));
        subject!("seqcast", OnBell::new());
        subject!("seqcast, the poster has a bell too", OnBell::everywhere());
        subject!("seqcast, by a thread", OnBell::by_thread());
        subject!("iceoryx2", IceoryxLoop::new());
        subject!("orbit-core", OrbitLoop::new());
        subject!("Unix socket", UnixLoop::new());
        subject!("tokio: raw eventfd", EventFdTasks::new(&board));
        subject!("tokio: seqcast", OnTask::new());
    }
    for sleepers in [1, 4, 16, 64] {
        for (scenario, of) in
            [("event loop, the poster's cost", Of::Poster), ("event loop, the last one awake", Of::Last)]
        {
            if !arguments.wants(scenario) {
                continue;
            }
            macro_rules! subject {
                ($name:literal, $channel:expr) => {
                    let key = Key::new(scenario, format!("{}, {sleepers} asleep", $name), 8).with(1, sleepers);
                    lab.measure(key, Limit::Futex(Wake::TwoCores), |board| {
                        wake_many(board, &$channel, sleepers, of, plan.wakes)
                    });
                };
            }
            subject!("raw eventfds", EventFds::new(&board, sleepers));
            subject!("seqcast", OnBell::new());
            subject!("seqcast, by a thread", OnBell::by_thread());
            subject!("iceoryx2", IceoryxLoop::new());
            subject!("orbit-core", OrbitLoop::new());
        }
    }
}

fn the_original(lab: &mut Lab, plan: Plan, source: &Result<std::path::PathBuf, String>) {
    const NAME: &str = "lua-resty-worker-events";
    let (latency, throughput) = (Key::new(LATENCY, NAME, 64), Key::new(FLOW, NAME, 64));
    let root = match source {
        Ok(root) => root,
        Err(why) => {
            lab.cannot(latency, why);
            lab.cannot(throughput, why);
            return;
        }
    };
    let mut posted = None;
    lab.measure(latency, Limit::Lines(64), |_| {
        let found = lua::run(root, 64, plan.lua)?;
        posted = Some(found.flow);
        Ok(found.one_way)
    });
    let flow: Result<Batch, String> = posted.ok_or_else(|| "its nginx did not run; see the row above".to_owned());
    lab.measure(throughput, Limit::Lines(64), |_| flow);
}
