//! A thread that waits for posts and makes a bell readable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::fork::ForkGuard;
use crate::os::futex::SharedFutex;
use crate::os::ready_set::Knocker;
use crate::os::signals::NoSignals;
use crate::protocol::ring::{AtMark, Ring};
use crate::protocol::wake;
use crate::protocol::word::Mark;
use crate::segment::Segment;
use crate::segment::layout::header_word;

/// The thread. It ends when the listener is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    guard: ForkGuard,
    segment: Arc<Segment>,
    request: Arc<Request>,
    thread: Option<JoinHandle<()>>,
}

/// The event loop's request to the thread.
#[derive(Debug, Default)]
struct Request {
    /// The place up to which the loop has read, or [`Mark::NONE`] while the loop is awake.
    mark: AtomicU64,
    stop: AtomicBool,
    /// The wake word on which the thread sleeps while the loop is awake.
    word: AtomicU32,
}

impl Request {
    fn mark(&self) -> Mark {
        // Acquire: with what the loop read before its request.
        Mark::from_bits(self.mark.load(Ordering::Acquire))
    }

    fn is_stopped(&self) -> bool {
        // Relaxed: no other data depends on it.
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until the event loop is about to sleep. Returns `false` if the thread must end.
    fn wait_for_sleep(&self) -> bool {
        loop {
            if self.is_stopped() {
                return false;
            }
            if self.mark() != Mark::NONE {
                return true;
            }
            let ready = || self.is_stopped() || self.mark() != Mark::NONE;
            wake::nap(&self.word, &SharedFutex, Duration::MAX, ready);
        }
    }

    /// Waits until there is something to read for a sleeping loop. Returns `false` if the thread must end.
    fn wait_for_news(&self, segment: &Segment, ring: &Ring) -> bool {
        loop {
            if self.is_stopped() {
                return false;
            }
            let has_news = || self.mark() != Mark::NONE && ring.at_mark(self.mark()) == AtMark::News;
            if has_news() {
                return true;
            }
            let ready = || self.is_stopped() || has_news();
            wake::nap(segment.wake_word(header_word!(wake)), &SharedFutex, Duration::MAX, ready);
        }
    }
}

impl Listener {
    /// Starts a thread that makes the set of `knocker` readable.
    pub(crate) fn start(segment: &Arc<Segment>, guard: ForkGuard, knocker: Knocker) -> Result<Listener> {
        let request = Arc::new(Request::default());
        let (asked, listened) = (Arc::clone(&request), Arc::clone(segment));
        let run = move || {
            let ring = listened.ring();
            while asked.wait_for_sleep() && asked.wait_for_news(&listened, &ring) {
                // Relaxed: the loop is woken next, and makes a new request.
                asked.mark.store(Mark::NONE.bits(), Ordering::Relaxed);
                knocker.knock();
            }
        };
        // The new thread inherits this thread's signal mask.
        let no_signals = NoSignals::begin();
        let thread = thread::Builder::new().name("seqcast-bell".to_owned()).spawn(run);
        drop(no_signals);
        let thread = thread.map_err(|error| Error::system(segment.name(), "thread", error))?;
        Ok(Listener { guard, segment: Arc::clone(segment), request, thread: Some(thread) })
    }

    /// Makes the bell readable when there is something to read at `mark`.
    pub(crate) fn listen_at(&self, mark: Mark) {
        // SeqCst: with the look at the word that follows, and with the thread's fence in `nap`.
        self.request.mark.swap(mark.bits(), Ordering::SeqCst);
        wake::notify(&self.request.word, &SharedFutex, &());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.guard.is_forked() {
            // The thread is the parent's.
            std::mem::forget(thread);
            return;
        }
        // SeqCst: as in `listen_at`.
        self.request.stop.swap(true, Ordering::SeqCst);
        wake::notify(&self.request.word, &SharedFutex, &());
        wake::wake_sleepers(self.segment.wake_word(header_word!(wake)), &SharedFutex);
        // It does not panic.
        let _ = thread.join();
    }
}
