//! The scenarios, one batch at a time.

use std::time::Duration;

use super::board::{Board, MOST_SAMPLES};
use super::channel::{Channel, End, STOP, Side, Sink, number, payload_of};
use super::clock::{granule_ns, ns_per_tick, spin_for, ticks, ticks_in};
use super::cpu::{self, core_of};
use super::team::{self, Role};

/// The result of a batch, in nanoseconds or events.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Times of single events, and the resolution of the clock.
    Times(Vec<f64>, f64),
    /// Events in a period.
    Flow(Flow),
}

impl Batch {
    /// Returns the samples on the board, each counted as `share` of itself.
    pub fn sampled(board: &Board, share: f64) -> Batch {
        let times = board.samples().map(|ticks| ticks as f64 * ns_per_tick() * share).collect();
        Batch::Times(times, granule_ns() * share)
    }
}

/// Events in a period.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Events posted by each writer, and its duration in nanoseconds.
    pub posted: Vec<(u64, f64)>,
    /// Events received and missed by each reader, and its duration in nanoseconds.
    pub received: Vec<(u64, u64, f64)>,
}

/// The length of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    pub rounds: usize,
    pub time: Duration,
}

/// Round trips of one payload between two processes on two cores, each halved: one way. A reader polls all the time.
pub fn one_way<C: Channel>(board: &Board, channel: &C, size: usize, length: Length) -> Result<Batch, String> {
    round_trips(board, channel, size, length, 0.5, [core_of(0), core_of(1)])
}

/// Whole round trips.
pub fn round_trip<C: Channel>(board: &Board, channel: &C, size: usize, length: Length) -> Result<Batch, String> {
    round_trips(board, channel, size, length, 1.0, [core_of(0), core_of(1)])
}

fn round_trips<C: Channel>(
    board: &Board,
    channel: &C,
    size: usize,
    length: Length,
    share: f64,
    cores: [usize; 2],
) -> Result<Batch, String> {
    let near = || {
        let sink = Sink::leaked();
        let mut end = channel.open(Side::Near, sink);
        let mut payload = payload_of(size);
        board.meet(2);
        let mut round = 0;
        let mut trip = || {
            round += 1;
            number(&mut payload, round);
            end.send(&payload);
            while sink.last() != round {
                end.poll();
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
        while taken < length.rounds.min(MOST_SAMPLES) && before < deadline {
            let now = trip();
            board.sample(taken, now - before);
            taken += 1;
            before = now;
        }
        board.set_samples(taken);
        number(&mut payload, STOP);
        end.send(&payload);
        std::hint::black_box(sink.sum());
    };
    let far = || {
        let sink = Sink::leaked();
        let mut end = channel.open(Side::Far(0), sink);
        let mut payload = payload_of(size);
        board.meet(2);
        let mut answered = 0;
        loop {
            end.poll();
            let last = sink.last();
            if last == STOP {
                break;
            }
            if last != answered {
                answered = last;
                number(&mut payload, last);
                end.send(&payload);
            }
        }
        std::hint::black_box(sink.sum());
    };
    team::run(board, &[Role::new(cores[0], near), Role::new(cores[1], far)])?;
    Ok(Batch::sampled(board, share))
}

/// The cores of a sleeper and its waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// On one core: the wake-up is a context switch.
    OneCore,
    /// On two cores: the sleeper's core is idle, and has to be woken too.
    TwoCores,
}

/// The time from before a post until the answer of a sleeping process has arrived. Meanwhile the waker sleeps if there
/// is only one core, and otherwise polls.
pub fn wake<C: Channel>(board: &Board, channel: &C, place: Wake, rounds: usize) -> Result<Batch, String> {
    let cores = match place {
        Wake::OneCore => [core_of(0); 2],
        Wake::TwoCores => [core_of(0), core_of(1)],
    };
    let near = || {
        let sink = Sink::leaked();
        let mut end = channel.open(Side::Near, sink);
        let mut payload = payload_of(8);
        board.meet(2);
        let warm_up = rounds / 10 + 10;
        for round in 0..rounds + warm_up {
            // Long enough for the other process to have gone to sleep.
            match place {
                Wake::OneCore => std::thread::sleep(Duration::from_micros(60)),
                Wake::TwoCores => spin_for(Duration::from_micros(60)),
            }
            let before = ticks();
            number(&mut payload, round as u64 + 1);
            end.send(&payload);
            while sink.last() != round as u64 + 1 {
                if place == Wake::OneCore {
                    end.wait();
                }
                end.poll();
            }
            if round >= warm_up {
                board.sample(round - warm_up, ticks() - before);
            }
        }
        board.set_samples(rounds);
        number(&mut payload, STOP);
        end.send(&payload);
    };
    let far = || {
        let sink = Sink::leaked();
        let mut end = channel.open(Side::Far(0), sink);
        let mut payload = payload_of(8);
        board.meet(2);
        let mut answered = 0;
        while answered != STOP {
            end.wait();
            end.poll();
            let last = sink.last();
            if last != answered {
                answered = last;
                number(&mut payload, last);
                end.send(&payload);
            }
        }
    };
    team::run(board, &[Role::new(cores[0], near), Role::new(cores[1], far)])?;
    Ok(Batch::sampled(board, 1.0))
}

/// The time from before a post until a process that slept takes the payload, one way.
///
/// The sleeper runs before ordinary processes, so that on one core the wake-up itself preempts the waker. Otherwise it
/// waits now and then until the waker sleeps, and the median says how often and not how long.
pub fn wake_one_way<C: Channel>(board: &Board, channel: &C, place: Wake, rounds: usize) -> Result<Batch, String> {
    /// The figures of the sleeper: it is ready; what it has.
    const READY: usize = 0;
    const SEEN: usize = 1;
    let cores = match place {
        Wake::OneCore => [core_of(0); 2],
        Wake::TwoCores => [core_of(0), core_of(1)],
    };
    let pause = || match place {
        Wake::OneCore => std::thread::sleep(Duration::from_micros(60)),
        Wake::TwoCores => spin_for(Duration::from_micros(60)),
    };
    let warm_up = rounds / 10 + 10;
    let near = || {
        let sink = Sink::leaked();
        let mut end = channel.open(Side::Near, sink);
        let mut payload = payload_of(8);
        board.meet(2);
        while board.figure(1, READY) == 0 {
            std::thread::sleep(Duration::from_micros(60));
        }
        for round in 1..=(rounds + warm_up) as u64 {
            // Long enough for the other process to have gone to sleep.
            pause();
            number(&mut payload, round);
            board.report(0, 0, ticks());
            end.send(&payload);
            while board.figure(1, SEEN) < round {
                pause();
            }
        }
        board.set_samples(rounds);
        number(&mut payload, STOP);
        end.send(&payload);
    };
    let far = || {
        board.meet(2);
        // Before it opens, so that its threads are like it.
        cpu::realtime();
        let sink = Sink::leaked_with_clock();
        let mut end = channel.open(Side::Far(0), sink);
        board.report(1, READY, 1);
        let mut seen = 0;
        while seen != STOP {
            end.wait();
            end.poll();
            if sink.last() == seen {
                continue;
            }
            seen = sink.last();
            if let Some(sample) = (seen as usize).checked_sub(warm_up + 1).filter(|sample| *sample < rounds) {
                board.sample(sample, sink.taken() - board.figure(0, 0));
            }
            board.report(1, SEEN, seen);
        }
    };
    team::run(board, &[Role::new(cores[0], near), Role::new(cores[1], far)])?;
    Ok(Batch::sampled(board, 1.0))
}

/// The measurement of a post to many sleepers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The cost of the post for its poster.
    Poster,
    /// The time from before the post until the last sleeper has it.
    Last,
}

/// Posts to `sleepers` processes that all sleep on the other core.
pub fn wake_many<C: Channel>(
    board: &Board,
    channel: &C,
    sleepers: usize,
    of: Of,
    rounds: usize,
) -> Result<Batch, String> {
    let all = sleepers as u64 + 1;
    let near = || {
        let sink = Sink::leaked();
        let mut end = channel.open(Side::Near, sink);
        let mut payload = payload_of(8);
        board.meet(all);
        let warm_up = rounds / 10 + 5;
        for round in 0..rounds + warm_up {
            // Long enough for all to have gone to sleep.
            spin_for(Duration::from_micros(100 + 10 * sleepers as u64));
            number(&mut payload, round as u64 + 1);
            let before = ticks();
            end.send(&payload);
            let posted = ticks();
            let is_awake = |role| board.figure(role, 0) > round as u64;
            while !(1..=sleepers).all(is_awake) {
                std::hint::spin_loop();
            }
            if round >= warm_up {
                board.sample(round - warm_up, if of == Of::Poster { posted } else { ticks() } - before);
            }
        }
        board.set_samples(rounds);
        number(&mut payload, STOP);
        end.send(&payload);
    };
    let mut roles = vec![Role::new(core_of(0), near)];
    for sleeper in 0..sleepers {
        let run = move || {
            let sink = Sink::leaked();
            let mut end = channel.open(Side::Far(sleeper), sink);
            board.meet(all);
            while sink.last() != STOP {
                end.wait();
                end.poll();
                if sink.last() != STOP {
                    board.report(sleeper + 1, 0, sink.last());
                }
            }
        };
        roles.push(Role::new(core_of(1), run));
    }
    team::run(board, &roles)?;
    Ok(Batch::sampled(board, 1.0))
}

/// Writers at full speed for `time`, and readers that take what they can, each on a separate core as far as there are
/// cores, writers first.
pub fn flow<C: Channel>(
    board: &Board,
    channel: &C,
    size: usize,
    writers: usize,
    readers: usize,
    time: Duration,
) -> Result<Batch, String> {
    let all = (writers + readers) as u64;
    let shared_cores = writers + readers > super::cpu::allowed().len();
    let mut roles = Vec::new();
    for writer in 0..writers {
        let run = move || {
            let sink = Sink::leaked();
            let mut end = channel.open(Side::Near, sink);
            let mut payload = payload_of(size);
            board.meet(all);
            let start = ticks();
            let deadline = start + ticks_in(time);
            let mut posted = 0;
            let mut now = start;
            while now < deadline {
                for _ in 0..32 {
                    posted += 1;
                    number(&mut payload, posted);
                    end.send(&payload);
                }
                now = ticks();
            }
            board.report(writer, 0, posted);
            board.report(writer, 1, now - start);
            // The readers continue until all writers are done.
            board.all_done(writers as u64);
            number(&mut payload, STOP);
            end.send(&payload);
        };
        roles.push(Role::new(core_of(writer), run));
    }
    for reader in 0..readers {
        let role = writers + reader;
        let run = move || {
            let sink = Sink::leaked();
            let mut end = channel.open(Side::Far(reader), sink);
            board.meet(all);
            let start = ticks();
            let mut before = 0;
            let mut now = start;
            while sink.last() != STOP {
                end.poll();
                if sink.count() != before {
                    before = sink.count();
                    now = ticks();
                } else if shared_cores {
                    std::thread::yield_now();
                }
            }
            // Without the one that means stop.
            board.report(role, 0, sink.count() - sink.stops());
            board.report(role, 1, end.missed());
            board.report(role, 2, now - start);
            std::hint::black_box(sink.sum());
        };
        // Readers take the cores that the writers leave, in turn.
        let cores = super::cpu::allowed();
        let core = match cores.len() {
            0..=1 => core_of(0),
            _ if cores.len() <= writers => core_of(role),
            cores => core_of(writers + reader % (cores - writers)),
        };
        roles.push(Role::new(core, run));
    }
    team::run(board, &roles)?;
    let ns = |ticks: u64| ticks as f64 * ns_per_tick();
    let posted: Vec<_> = (0..writers).map(|role| (board.figure(role, 0), ns(board.figure(role, 1)))).collect();
    let all_posted: u64 = posted.iter().map(|&(count, _)| count).sum();
    for role in writers..writers + readers {
        let (count, missed) = (board.figure(role, 0), board.figure(role, 1));
        // With several writers, one that means stop may be among the missed.
        if C::End::TELLS_LOSSES && writers == 1 && count + missed != all_posted {
            return Err(format!("{count} received and {missed} missed are not {all_posted} posted"));
        }
    }
    let of_reader = |role| {
        let count = board.figure(role, 0);
        // Some channels cannot count what they lost.
        let missed = board.figure(role, 1).max(all_posted.saturating_sub(count));
        (count, missed, ns(board.figure(role, 2)))
    };
    Ok(Batch::Flow(Flow { posted, received: (writers..writers + readers).map(of_reader).collect() }))
}
