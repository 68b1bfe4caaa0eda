//! A request and its reply, both typed. The request's handler posts the reply, as in users' code.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rkyv::{Archive, Serialize};
use seqcast::{SegmentOptions, Topic, Typed, TypedEvent};

use crate::support::batch::{Batch, Length};
use crate::support::board::Board;
use crate::support::bus::quiet;
use crate::support::clock::{ticks, ticks_in};
use crate::support::cpu::core_of;
use crate::support::team::{self, Role};

const LAST: u64 = u64::MAX;

#[derive(Archive, Serialize)]
struct Request {
    number: u64,
    ip: [u8; 16],
    port: u16,
    weights: [u32; 9],
}

#[derive(Archive, Serialize)]
struct Reply {
    number: u64,
    sum: u64,
}

impl TypedEvent for Request {
    const TOPIC: Topic<'static> = Topic::new("balancer", "ask");
}

impl TypedEvent for Reply {
    const TOPIC: Topic<'static> = Topic::new("balancer", "answer");
}

/// Times from before the request to after the handling of the reply, for two polling processes on two cores.
pub fn round_trips(board: &Board, length: Length) -> Result<Batch, String> {
    let bus = SegmentOptions::new().anonymous().map_err(|error| error.to_string())?;
    let near = || {
        let worker = bus.join_with(&quiet()).expect("a seat");
        let answered = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&answered);
        let on_reply = move |reply: Typed<'_, Reply>| {
            std::hint::black_box(reply.sum.to_native());
            seen.store(reply.number.to_native(), Ordering::Relaxed);
        };
        worker.on_typed(on_reply).expect("a handler");
        board.meet(2);
        let ask = |number: u64| {
            let request = Request { number, ip: [7; 16], port: 443, weights: [number as u32; 9] };
            worker.post(Request::TOPIC, &request).expect("posted");
        };
        let mut number = 0;
        let mut trip = || {
            number += 1;
            ask(number);
            while answered.load(Ordering::Relaxed) != number {
                let _ = worker.poll().expect("polled");
            }
            ticks()
        };
        let warm = ticks() + ticks_in(length.time / 4);
        for _ in 0..length.rounds / 5 {
            if trip() > warm {
                break;
            }
        }
        let mut before = trip();
        let deadline = before + ticks_in(length.time);
        let mut taken = 0;
        while taken < length.rounds && before < deadline {
            let now = trip();
            board.sample(taken, now - before);
            taken += 1;
            before = now;
        }
        board.set_samples(taken);
        ask(LAST);
    };
    let far = || {
        let worker = bus.join_with(&quiet()).expect("a seat");
        let answered = Arc::new(AtomicU64::new(0));
        let (seen, own) = (Arc::clone(&answered), worker.clone());
        let on_request = move |request: Typed<'_, Request>| -> seqcast::Result<()> {
            let number = request.number.to_native();
            let sum = request.weights.iter().map(|weight| u64::from(weight.to_native())).sum();
            own.post(Reply::TOPIC, &Reply { number, sum })?;
            seen.store(number, Ordering::Relaxed);
            Ok(())
        };
        worker.on_typed(on_request).expect("a handler");
        board.meet(2);
        while answered.load(Ordering::Relaxed) != LAST {
            let _ = worker.poll().expect("polled");
        }
    };
    team::run(board, &[Role::new(core_of(0), near), Role::new(core_of(1), far)])?;
    Ok(Batch::sampled(board, 1.0))
}
