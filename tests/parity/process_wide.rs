//! `process`: configure once, then use it from anywhere.

use seqcast::library;
use seqcast::{Cause, Scope, SegmentOptions, WorkerOptions, process};

use seqcast_testkit::{HOUR, Log, Name, alone, assert_error, bus, error, in_child, poll, quiet, small};

alone! {
    fn configure_is_once_and_a_second_time_says_so_and_reconfigure_works() {
        let name = Name::new();
        assert!(!process::configured());
        assert_error!(process::worker(), Cause::NotConfigured);
        let worker = process::configure(&name, &small(), &WorkerOptions::new()).unwrap();
        assert!(process::configured());
        let log = Log::of(worker, Scope::events(library::SOURCE, [library::STARTED.event()]));
        poll(process::worker().unwrap());
        assert_eq!(log.len(), 1);
        let again = error(process::configure(&name, &small(), &WorkerOptions::new()));
        let text = again.to_string();
        assert!(matches!(again.cause(), Cause::AlreadyConfigured { name: found } if *found == format!("/{}", &*name)));
        assert!(text.contains("reconfigure"), "{text}");
        process::worker().unwrap().reconfigure(|options| options.wait_max(HOUR)).unwrap();
        assert!(format!("{:?}", worker.options()).contains("wait_max: 3600s"));
        let bus = small().open(&name).unwrap();
        assert_eq!(bus.stats().unwrap().workers.len(), 1, "the refused configure kept a seat");
    }

    fn configure_opens_what_exists_and_a_refusal_leaves_the_process_unconfigured() {
        let (name, bus) = bus(&small());
        let refusal = process::configure(&name, &small(), &quiet().timeout(std::time::Duration::ZERO));
        assert_error!(refusal, Cause::Option { option: "timeout", .. });
        assert!(!process::configured());
        let bad = process::configure(&name, &SegmentOptions::new().capacity(7), &quiet());
        assert_error!(bad, Cause::Option { option: "capacity", .. });
        process::configure(&name, &small(), &quiet()).unwrap();
        assert_eq!(bus.stats().unwrap().workers.len(), 1);
    }

    fn leave_posts_stopping_and_the_process_may_configure_again() {
        let (_name, bus) = bus(&small());
        let watcher = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&watcher, Scope::source(library::SOURCE));
        assert_error!(process::leave(), Cause::NotConfigured);
        let old = process::configure_on(&bus, &WorkerOptions::new()).unwrap();
        process::leave().unwrap();
        assert!(!process::configured());
        assert_error!(old.post(("s", "e"), b""), Cause::Left);
        process::configure_on(&bus, &WorkerOptions::new()).unwrap().post(("s", "e"), b"").unwrap();
        poll(&watcher);
        assert_eq!(log.events(), [library::STARTED.event(), library::STOPPING.event(), library::STARTED.event()]);
    }

    fn a_forked_child_configures_its_own_and_the_parents_is_untouched() {
        let (_name, bus) = bus(&small());
        let worker = process::configure_on(&bus, &quiet()).unwrap();
        let log = Log::of(worker, Scope::source("s"));
        in_child(|| {
            assert!(!process::configured());
            assert_error!(process::worker(), Cause::NotConfigured);
            assert_error!(process::leave(), Cause::NotConfigured);
            let own = process::configure_on(&bus, &quiet()).unwrap();
            assert_ne!(own.seat(), worker.seat());
            own.post(("s", "child"), b"").unwrap();
        });
        process::worker().unwrap().post(("s", "parent"), b"").unwrap();
        poll(worker);
        assert_eq!(log.events(), ["child", "parent"]);
    }

    fn of_threads_that_configure_at_once_one_succeeds() {
        let (_name, bus) = bus(&small());
        let refused = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| process::configure_on(&bus, &quiet())));
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|configured| {
                matches!(configured.as_ref().map_err(|error| error.cause()), Err(Cause::AlreadyConfigured { .. }))
            }).count()
        });
        assert_eq!(refused, 3);
        assert_eq!(bus.stats().unwrap().workers.len(), 1);
        process::worker().unwrap().post(("s", "e"), b"").unwrap();
    }
}
