//! A lock-free event bus in shared memory for the worker processes of one host.
//!
//! All workers see events in one total order; a worker that falls behind is told exactly how many it missed. An event
//! can be unique: then one worker runs it. If a process is killed or stopped, at any instruction, the others
//! continue.
//!
//! ```
//! use seqcast::{Bus, Scope};
//!
//! # let name = format!("doc-lib-{}", std::process::id());
//! # /*
//! let bus = Bus::open_or_create("my-server")?; // in the master, before it forks
//! # */
//! # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).open_or_create(&name)?;
//! let worker = bus.join()?; // in each worker process
//! worker.on(Scope::source("cache"), |event| {
//!     println!("drop {} from the cache", String::from_utf8_lossy(event.bytes()));
//! })?;
//! worker.post(("cache", "stale"), "user:42")?; // reaches all workers, this one too
//! worker.poll()?; // on every request, or worker.wait(..), or worker.start_poller()
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! # Where to begin
//!
//! | to | use |
//! |---|---|
//! | call handlers, from any thread | [`Worker`]: [`on`](Worker::on) and [`poll`](Worker::poll), or a [`Poller`] |
//! | read on one thread that owns its state | [`Worker::poll_with`], or a [`Subscriber`], which returns events |
//! | produce large payloads without a copy | [`Publisher::post_with`] |
//! | look at large payloads without a copy | [`Worker::on_in_place`], [`Subscriber::try_visit`] |
//! | wait in an event loop | [`Bell`], a descriptor that becomes readable; with tokio the feature of that name |
//! | post from a thread that posts much | [`Publisher`] |
//! | keep the last event of each key | [`retain`](EventBuilder::retain), [`Start::Retained`], [`Worker::get`] |
//! | replace a segment by a larger one under load | [`Bridge`] |
//! | have one worker for the whole process | [`process`] |
//! | look from outside | [`Bus::stats`], [`inspect`], the command `seqcast` |
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | segment | the shared-memory object: header, seats, ring, claims. It has a name, or none |
//! | [`Bus`] | a process's handle on a segment |
//! | seat | the place of one participant on the bus |
//! | [`Worker`] | a seat with handlers. It posts events and delivers all events in order |
//! | [`Subscriber`] | a seat that is read by pulling, for event loops and other languages |
//! | [`Publisher`] | a seat that only posts |
//! | event id | a position in the total order, from 0 |
//! | source, event | what an event is about, and what happened |
//! | unique | said of an event that at most one worker runs, and none while its key is held for an earlier one |
//! | claim | the right to run a unique key until its ttl ends |
//! | reserved | said of an id that is taken before its payload is there |
//! | lapped | said of a worker when its next event was overwritten by newer ones |
//! | retained | said of an event that the segment keeps as the last one of its key |
//! | key | of a retained event: its topic, and what the sender adds to it |
//!
//! # Handlers
//!
//! A poll calls the handlers of each event on the thread that polls, one event after the other. When it returns, they
//! have run, and every later answer of the process takes these events into account.
//!
//! **Change state in the handler. Send to a channel or another thread only what may lag.** Data in a channel is still
//! on its way when the poll returns. In a test of a prefork cache, the handlers only sent the key to the thread that
//! owned the cache: 402 of 3,000 reads that followed an acknowledged invalidation were stale.
//!
//! ```
//! # let bus = seqcast::SegmentOptions::new().anonymous()?;
//! # let worker = bus.join()?;
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex, mpsc};
//!
//! let cache = Arc::new(Mutex::new(HashMap::from([("user:42".to_owned(), "Ada")])));
//! let (log, _lines) = mpsc::channel();
//! let stale = Arc::clone(&cache);
//! worker.on(("cache", "stale"), move |event| {
//!     let key = String::from_utf8_lossy(event.bytes()).into_owned();
//!     stale.lock().unwrap().remove(&key); // here, so that the next read misses
//!     log.send(key) // a log may lag
//! })?;
//! worker.post(("cache", "stale"), "user:42")?;
//! worker.poll()?;
//! assert!(!cache.lock().unwrap().contains_key("user:42"));
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! # Lag
//!
//! The ring overwrites old events; a slow worker never holds up a post. A worker that falls more than
//! [`capacity`](SegmentOptions::capacity) behind is lapped: it is told how many ids it missed, in order and exactly,
//! and continues an eighth of the ring above the oldest event. State that it has built from events is then out of date:
//! build it again from its source, or keep it in [retained events](#retained-events).
//!
//! ```
//! use seqcast::{SegmentOptions, WorkerOptions};
//!
//! let bus = SegmentOptions::new().capacity(8).anonymous()?;
//! let worker = bus.join_with(&WorkerOptions::new().announce(false).on_report(|report| println!("{report}")))?;
//! let mut publisher = bus.publisher()?;
//! for number in 0..100 {
//!     publisher.post(("cache", "stale"), number.to_string())?;
//! }
//! let polled = worker.poll()?; // reports "event id 0: 93 events were overwritten before they were read: ..."
//! assert_eq!(polled.missed(), 93);
//! if polled.missed() > 0 {
//!     // clear the cache
//! }
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! A [`Subscriber`] gets [`Delivery::Lagged`] in the place of the missed events.
//!
//! # Unique events
//!
//! All workers run an event; at most one of them runs a unique event. The first worker that reaches it decides for all,
//! and its key is then held for the ttl: until then, no worker runs a later event with this key.
//!
//! ```
//! use std::time::Duration;
//!
//! let bus = seqcast::SegmentOptions::new().anonymous()?;
//! let workers = [bus.join()?, bus.join()?, bus.join()?];
//! for worker in &workers {
//!     worker.on(("refresh", "users"), |_| println!("refresh the users"))?;
//! }
//! // Each of them notices that the users are stale. They are refreshed once.
//! for worker in &workers {
//!     worker.event(("refresh", "users")).unique("users").ttl(Duration::from_secs(10)).post("")?;
//! }
//! let mut ran = 0;
//! for worker in &workers {
//!     ran += worker.poll()?.delivered();
//! }
//! assert_eq!(ran, 1);
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! [`Worker::claim`] claims a key without an event: a lock that ends by itself.
//!
//! # Jobs
//!
//! A job that one of several processes is to do, once per tick:
//!
//! | | at most once | at least once |
//! |---|---|---|
//! | claim it | [`claim`](Worker::claim) for the tick | [`claim_with`](Worker::claim_with): [for life][life] |
//! | while it runs | | [`renew`](Worker::renew) before each part; stop if that fails |
//! | at the end | | [`complete`](Worker::complete) for the tick |
//! | the process is killed | not done for this tick | the next claim of any process wins, at once |
//! | it fails | [`release`](Worker::release) the claim | [`release`](Worker::release) the claim |
//!
//! No two processes do it at a time, as long as each stops when its claim has ended. So the ttl must be longer than any
//! pause between two renewals. What a job has sent may still take effect later, such as a request that is on its way:
//! give such requests an id that their receiver compares.
//!
//! ```
//! use std::time::Duration;
//! use seqcast::{ClaimOptions, Claimed, Worker};
//!
//! /// Does the job of this tick, unless another process does it or has done it.
//! fn at_least_once(worker: &Worker, tick: u64, left_of_tick: Duration) -> seqcast::Result<()> {
//!     let ttl = Duration::from_secs(60);
//!     let options = ClaimOptions::new(ttl).ends_with_holder(true);
//!     if let Claimed::Won(claim) = worker.claim_with(format!("report:{tick}"), &options)? {
//!         for _part in 0..10 {
//!             // ... write this part of the report, in less than a minute ...
//!             worker.renew(&claim, ttl)?;
//!         }
//!         worker.complete(&claim, left_of_tick)?;
//!     }
//!     Ok(()) // call it again in a moment: the process that does the job may be killed
//! }
//!
//! let bus = seqcast::SegmentOptions::new().anonymous()?;
//! at_least_once(&bus.join()?, 7, Duration::from_secs(3600))?;
//! assert!(bus.held("report:7")?.is_some());
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! [`library::DIED`] tells which process has died and which keys it held, when its seat is taken over. The example
//! `jobs` kills processes in the middle of their jobs.
//!
//! [life]: ClaimOptions::ends_with_holder
//!
//! # Retained events
//!
//! State that workers share is kept in events that are [retained](EventBuilder::retain): the segment keeps the last one
//! of each key, beside the ring, until a later one takes its place, it is [cleared](EventBuilder::clear), or its ttl
//! ends. A worker that joins with [`Start::Retained`] gets them first, and one with [`resync`](WorkerOptions::resync)
//! gets, after each lap, those that it has missed. [`Worker::get`] looks one up.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use seqcast::{Bus, Start, Worker, WorkerOptions, library};
//!
//! type Upstreams = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;
//!
//! /// Joins a worker whose table of upstreams is that of all others.
//! fn join(bus: &Bus) -> seqcast::Result<(Worker, Upstreams)> {
//!     let worker = bus.join_with(&WorkerOptions::new().start(Start::Retained).resync(true))?;
//!     let upstreams = Upstreams::default();
//!     let (set, gone, void) = (Arc::clone(&upstreams), Arc::clone(&upstreams), Arc::clone(&upstreams));
//!     worker.on(("upstream", "state"), move |event| {
//!         let key = event.retained_key().unwrap_or_default().to_vec();
//!         set.lock().unwrap().insert(key, event.bytes().to_vec());
//!     })?;
//!     worker.on_cleared(("upstream", "state"), move |event| {
//!         gone.lock().unwrap().remove(event.retained_key().unwrap_or_default());
//!     })?;
//!     worker.on(library::RESET, move |_| void.lock().unwrap().clear())?;
//!     worker.poll()?;
//!     Ok((worker, upstreams))
//! }
//!
//! let bus = seqcast::SegmentOptions::new().anonymous()?;
//! let (worker, upstreams) = join(&bus)?;
//! worker.event(("upstream", "state")).retain_key("10.0.0.7").post("down")?;
//! worker.event(("upstream", "state")).retain_key("10.0.0.8").post("up")?;
//! worker.event(("upstream", "state")).retain_key("10.0.0.7").clear()?;
//! worker.poll()?;
//! let (_, of_a_later_one) = join(&bus)?;
//! assert_eq!(*upstreams.lock().unwrap(), *of_a_later_one.lock().unwrap());
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! [`library::RESET`] comes if a worker may have missed a clear that the segment no longer remembers: what it knows is
//! void, and everything that is retained follows. [`library::UP_TO_DATE`] comes when nothing is missing.
//!
//! # Sizes
//!
//! The sizes are set when the segment is created, and fixed from then on. All memory is allocated at once.
//!
//! | option | default | bytes for each |
//! |---|---:|---:|
//! | [`capacity`](SegmentOptions::capacity): events in the ring | 8,192 | `block_size` + 40 |
//! | [`block_size`](SegmentOptions::block_size): bytes of an event in one piece | 288 | |
//! | [`claims`](SegmentOptions::claims): unique keys at once | 8,192 | about 310 |
//! | [`retained`](SegmentOptions::retained): keys with a retained event | 64 | about `retained_size` + 100 |
//! | [`retained_size`](SegmentOptions::retained_size): bytes of a retained event | `block_size` | |
//! | [`large`](SegmentOptions::large): large blocks, and their bytes | none | the bytes of a large block + 40 |
//! | [`seats`](SegmentOptions::seats): participants at once | 64 | `block_size` + `retained_size` + `large` + 2,100 |
//!
//! - `capacity`: the events that are posted in the longest time that a worker is busy or stopped and must miss none.
//! - `block_size`: the size of most events, with their names and 16 bytes more. Longer events take several blocks, up
//!   to [a quarter of the ring](Bus::largest_event).
//! - `claims`: the number of keys that are held at the same time, and of unique events in the ring.
//! - `retained`: the number of keys that have a retained event at the same time. 0 if nothing is retained: then the
//!   segment has no room for it.
//! - `large`: set it if payloads of some KiB are common, such as pages of 16 or 64 KiB. An event that does not fit in a
//!   block is then posted with two publications instead of one for each block, and readers copy its payload in one
//!   piece. `bytes` is the size of most of these payloads; larger ones are posted in fragments. The number of large
//!   blocks is the number of large events that a worker may be behind without missing one. Payloads arrive fastest if
//!   the blocks are about 4 MiB in all: what both sides still have in their caches is slow to overwrite, and what left
//!   all caches is slow to fetch.
//! - `seats`: twice the number of workers, publishers and subscribers. In a reload, old and new ones are on the bus.
//!
//! ```
//! use seqcast::SegmentOptions;
//!
//! // A thousand small events a second, eight workers, each of which may be busy for a minute.
//! let bus = SegmentOptions::new().capacity(65_536).block_size(160).claims(1024).seats(32).anonymous()?;
//! assert_eq!(bus.largest_event(), 2 << 20);
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! # Reload
//!
//! In a reload, two generations of processes run side by side.
//!
//! **The same name and sizes.** The new processes open the name and are on the same bus. Both generations get each
//! other's events, in one order, and share claims and unique keys. A worker that joins with [`Start::Resume`] misses
//! nothing that was posted since its predecessor's [`position`](Worker::position). `seats` must suffice for both
//! generations; otherwise joining returns [`ErrorKind::NoSeat`].
//!
//! **Other sizes.** An existing segment keeps its sizes, mode and owner. [`SegmentOptions::open_or_create`] succeeds,
//! the first worker that joins reports [`Trouble::OptionsDiffer`], and [`Bus::differences`] returns what differs.
//! With [`SegmentOptions::strict`] it returns [`ErrorKind::OptionsDiffer`] instead; `seqcast doctor
//! NAME --capacity 8192` compares from outside. The new sizes need a new name, or a moment at which all processes have
//! ended and the name is unlinked.
//!
//! ```
//! # let name = format!("doc-reload-{}", std::process::id());
//! # let my_server = &*name;
//! use seqcast::{ErrorKind, SegmentOptions};
//!
//! let old = SegmentOptions::new().capacity(1024).unlink_on_drop(true).create(my_server)?;
//! let options = SegmentOptions::new().capacity(4096);
//! let new = options.open_or_create(my_server)?;
//! assert_eq!((new.capacity(), new.differences().len()), (1024, 1));
//! let refused = options.strict(true).open_or_create(my_server).unwrap_err();
//! assert_eq!(refused.kind(), ErrorKind::OptionsDiffer);
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! Under load, create the segment with the new sizes under a new name, and let a [`Bridge`] carry the events of each
//! segment into the other until the old workers have ended. Nothing is lost or doubled; what is retained is retained in
//! both; a unique event runs once in total; and the workers of each generation have one order.
//!
//! ```no_run
//! # fn old_workers_have_ended() -> bool { true }
//! use std::time::Duration;
//! use seqcast::{Bus, SegmentOptions};
//!
//! let old = Bus::open("my-server-1")?;
//! let new = SegmentOptions::new().capacity(8192).keys_of(&old).open_or_create("my-server-2")?;
//! // ... fork the new workers, which join `new` with `Start::Oldest` ...
//! if let Some(mut bridge) = old.bridge_to(&new)? {
//!     while !old_workers_have_ended() {
//!         bridge.wait(Duration::from_millis(100))?;
//!         bridge.pump()?;
//!     }
//!     bridge.finish()?;
//!     old.unlink()?;
//! }
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! The master or any worker can have the bridge; if it is killed, the next one to call [`Bus::bridge_to`] goes on. The
//! example `reload` does this with 2,000 events a second. To carry selected events only, to a bus with other keys, use
//! [`forward`](Worker::forward), in one direction: nothing else prevents loops.
//!
//! **Another layout.** A release can change the layout of segments; its changelog says so. A build refuses a segment of
//! another layout with [`ErrorKind::Layout`], and a segment of a build for another target with
//! [`ErrorKind::Fingerprint`]. So no process can be on both buses. Give the new release's segment a new name, and let
//! the old workers drain: they finish their work, and leave. Meanwhile a post reaches only the workers on its own name.
//! Each bus has its own claims and unique keys, so a nightly job could run once on each. Data that both generations
//! need must reach them by another way. `seqcast rm NAME`, or [`inspect::unlink_unheld`], removes the old name when no
//! process has it open any more, whatever its layout.
//!
//! **The end of a name.** A segment outlives its processes until its name is removed and no process has it open:
//!
//! | way | what happens |
//! |---|---|
//! | none | The segment stays until the host restarts. A later process that opens it continues its ids. |
//! | [`SegmentOptions::anonymous`] | There is no name. The segment ends with the processes that inherited it. |
//! | [`SegmentOptions::unlink_on_drop`] | The process that created the segment removes its name with its bus. |
//! | [`Bus::unlink_if_last`] | Each process calls it at its end, and the last one removes the name. |
//! | [`Bus::unlink`], [`unlink`] | The name is removed at once. |
//! | [`inspect::unlink_unheld`], `seqcast rm` | The name is removed if no process has it open. |
//!
//! <div class="warning">
//!
//! `unlink_on_drop` is for a master that outlives its workers. **Between independent processes it splits the bus**:
//! when the process that happened to create the segment ends, the others stay on a segment without a name, and the next
//! process creates another one. They get none of each other's events. The same happens if an old master ends after a
//! new one has opened the name. [`Bus::is_current`] detects it. Between independent processes, use `unlink_if_last`.
//!
//! </div>
//!
//! ```
//! # let name = format!("doc-split-{}", std::process::id());
//! # let my_server = &*name;
//! use seqcast::SegmentOptions;
//!
//! let options = SegmentOptions::new().unlink_on_drop(true);
//! let first = options.open_or_create(my_server)?;
//! let second = options.open_or_create(my_server)?; // in another process
//! drop(first); // the process that created the segment ends
//! assert!(!second.is_current()?);
//! let third = options.open_or_create(my_server)?; // a process that starts now
//! assert!(third.was_created() && third.id() != second.id(), "two buses");
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! # Guarantees
//!
//! | | |
//! |---|---|
//! | G1 order | All workers deliver events in order of increasing id; an id has the same content for all. |
//! | G2 all or none | An id is an event for every worker that is not lapped, or for none. |
//! | G3 never torn | No worker accepts a mixture of the bytes of two events. |
//! | G4 no silent loss | A lapped worker is told, in order, exactly how many ids it missed. |
//! | G5 no lost post | `post` returns the id of a visible event, or an error, and then no worker sees the event. |
//! | G6 no waiting | No call waits for another process, with the three exceptions below. |
//! | G7 kill-safe | SIGKILL at any instruction: the other workers continue, and nothing leaks beyond the next join. |
//! | G8 stop-safe | SIGSTOP at any instruction, for any time: the process does no harm when it continues. |
//! | G9 unique | At most one worker runs a unique event, regardless of the clock and of laps of the ring. |
//! | G10 hostile bytes | Any content of a segment is at worst an error: no undefined behaviour, no panic. |
//! | G11 idle is free | A poll with nothing new is a few cached loads: no system call, store, lock or clock. |
//! | G12 fork-safe | A handle in a forked child returns [`ErrorKind::Forked`]; a child's exit disturbs no process. |
//! | G13 the last is kept | Once a retained post has returned, a look-up finds its event or a later one of its key. |
//! | G14 up to date | A worker that joins or was lapped gets the last event of each key, then live events; no gap. |
//! | G15 full is known before | A retained post without a place for its key returns an error, and nothing was posted. |
//! | G16 not lapped | A worker that [must read](WorkerOptions::must_read) misses nothing, or is told of a cut. |
//! | G17 bounded | A post waits for such workers at most for their patience; for dead ones not at all. |
//! | G18 no circle | A post of such a worker never waits: without room it returns [`ErrorKind::Full`]. |
//! | G19 rung | A [`Bell`] is readable when there is something to read, even if the poster was killed. |
//! | G20 taken over | A claim that ends with its holder is free once that is dead; a lost one is not renewed. |
//!
//! G6: a reader waits at a *reserved* id, for at most `wait_max`; a post waits for workers that must read; and a join
//! waits for the last seat, for at most 50
//! ms, while another process frees it. G19: if the poster was stopped, the bell is readable at the end of its
//! interval at the latest.
//!
//! NOT promised: that a slow worker gets every event; that events outlive the last process and the segment; that they
//! reach another host; that a process with write access cannot corrupt the segment for all workers; that a
//! worker is told when the ttl of a retained event ends.
//!
//! # Fork
//!
//! Open the [`Bus`] in the master, and join in each child. A handle that joined before the fork belongs to the parent.
//! If the children drop privileges, let them join before that, or give the segment to the workers' user with
//! [`SegmentOptions::owner`].
//!
//! | handle | in a forked child that inherits it |
//! |---|---|
//! | [`Bus`] | works; its drop never removes the name |
//! | [`Worker`], [`Subscriber`], [`Publisher`], [`Reservation`] | calls return [`ErrorKind::Forked`] and do nothing |
//! | [`Poller`] | its thread is not there: `stop` returns [`ErrorKind::Forked`] |
//! | [`Waker`] | does nothing |
//! | [`Bell`] | calls return [`ErrorKind::Forked`]; do not wait for its descriptor |
//! | [`process::worker`] | returns [`ErrorKind::NotConfigured`], until the child configures its own |
//! | [`inspect::Inspector`], [`inspect::Tail`] | work |
//!
//! None of these calls waits for another thread of the parent, and neither does a drop. A drop frees the child's copy
//! of memory and descriptors, except data that another thread was changing at the fork. [`Worker::unregister`] returns
//! `false`.
//!
//! A handler may fork, and so may a reporter, a `Drop` that the library runs, and any other code of yours that it
//! calls. If the child returns from that code, the surrounding call, such as [`Worker::poll`], runs no further handler,
//! stores nothing, and returns [`ErrorKind::Forked`] in the child; the parent continues. A [`Poller`]'s thread has no
//! caller: in the child it ends, and with it the child, with exit status 0.
//!
//! A child is recognized by a page that the kernel wipes in it (`MADV_WIPEONFORK`), and by a handler of
//! `pthread_atfork`. So `fork` is supported everywhere. A raw `clone` or `_Fork`, which runs no handlers, is supported
//! where the kernel wipes the page: on Linux 4.14 and later, but not on gVisor, in qemu's user mode, or under a seccomp
//! filter that answers for the kernel.
//!
//! # Signals
//!
//! A signal handler may call [`Waker::wake`] and nothing else of this crate: it is the only async-signal-safe call.
//! Other calls take locks or allocate. Let the handler set a flag and wake the worker, and do the work in the loop
//! around [`Worker::wait`]. If the process's signals belong to other code, as in an extension of a language's runtime,
//! use [`Worker::wait_interruptible`], which returns after each signal.
//!
//! A thread that is interrupted in a poll continues where it was. A signal handler must return: one that leaves by
//! `longjmp`, or that forks a child that returns from it, leaves the interrupted call half done. The exception is a
//! wait: after such a fork it returns [`ErrorKind::Forked`] in the child. All signals are blocked on a [`Poller`]'s
//! thread.
//!
//! # Panics
//!
//! A handler that panics is reported like one that returns an error, and the next handler runs. A panic in the closure
//! of [`Worker::poll_with`] goes on to the caller. The process's panic hook belongs to the host: it gets these panics,
//! too, and the crate does not change it. [`process::install_panic_hook`] adds location and backtrace to the reports. A
//! panic of a reporter, or of a value that is dropped, ends no poll either.
//!
//! # Features
//!
//! `typed`, on by default: values of Rust types as events, archived by [rkyv](https://docs.rs/rkyv). Without it events
//! carry bytes and text, and rkyv is not built. All programs that exchange typed values on a bus need the same features
//! of rkyv (`unaligned`, byte order, pointer width): otherwise they get [`ErrorKind::TypedFormat`]. Programs with and
//! without `typed`, and with any features of rkyv, exchange bytes and inspect.
//!
//! `tokio`: [`tokio::AsyncSubscriber`] and [`tokio::AsyncWorker`], which wait as tasks.
//!
//! `tracing`: reports go to the subscriber of the thread that reports, if it has one, instead of standard error.

// Without the feature, the pages link to items that do not exist.
#![cfg_attr(not(feature = "typed"), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, missing_debug_implementations)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("seqcast needs 64-bit Linux: open file description locks, futex, memfd and MADV_WIPEONFORK");

mod bus;
mod claim;
#[cfg(doc)]
pub mod docs;
mod error;
mod event;
mod identity;
pub mod inspect;
mod os;
pub mod process;
mod protocol;
pub mod relay;
mod seat;
mod segment;
mod sync;
#[cfg(feature = "tokio")]
pub mod tokio;
mod worker;

pub use bus::{Bus, unlink};
pub use claim::{Claim, ClaimOptions, Claimed, HeldKey, KeyHash, Unique, Winner};
pub use error::{Cause, Difference, Error, ErrorKind, Holder, Result, SizeLimit};
pub use event::{
    Died, Event, EventBuilder, Missed, MissedReason, Payload, Scope, Sink, Tagged, Topic, Whence, WordIter, Words,
    library,
};
#[cfg(feature = "typed")]
pub use event::{Typed, TypedEvent, archive_format};
pub use identity::{BusId, ClusterId, Origin, Position};
#[cfg(feature = "typed")]
pub use rkyv;
pub use seat::bell::options::{BellKind, BellOptions};
pub use seat::bell::pull::PullBell;
pub use seat::bridge::{Bridge, Carried};
pub use seat::delivery::{Delivery, Undecided};
pub use seat::options::{Start, WorkerOptions};
pub use seat::publisher::Publisher;
pub use seat::report::{HandlerError, HandlerPanic, Report, Trouble};
pub use seat::reservation::Reservation;
pub use seat::retained::Retained;
pub use seat::stats::{Sizes, Stats, WorkerStats};
pub use seat::subscriber::Subscriber;
pub use segment::options::SegmentOptions;
pub use worker::{Bell, Handler, Outcome, Polled, Poller, Registration, Waited, Waker, WeakWorker, Worker};

/// The README's program, so that it keeps compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
