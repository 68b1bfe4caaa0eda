//! The chapter "Reload" of the front page: a new generation of processes beside an old one.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::{Bus, ErrorKind, Event, Polled, Scope, Start, Tagged};
use seqcast_testkit::{Child, Log, Name, Noted, alone, bus, poll, quiet, shared_words, small, stop_here};

alone! {
    fn g4_a_new_generation_goes_on_where_the_old_one_left() {
        let (name, first) = bus(&small());
        let old = first.join_with(&quiet()).unwrap();
        poll(&old);
        // The new generation opens the same name, and is there before the old one leaves.
        let second = small().open_or_create(&name).unwrap();
        assert!(!second.was_created() && second.differences().is_empty() && second.id() == first.id());
        let beside = second.join_with(&quiet()).unwrap();
        let logs = [Log::of(&old, Scope::All), Log::of(&beside, Scope::All)];
        old.post(("s", "from the old"), b"").unwrap();
        beside.post(("s", "from the new"), b"").unwrap();
        poll(&old);
        poll(&beside);
        assert_eq!(logs.map(|log| log.events()), [["from the old", "from the new"]; 2]);
        // A generation that comes after the old one has left misses nothing, either.
        let position = old.position();
        old.leave().unwrap();
        beside.post(("s", "between"), b"").unwrap();
        let after = second.join_with(&quiet().start(Start::Resume(position))).unwrap();
        let log = Log::of(&after, Scope::All);
        assert_eq!(poll(&after), (1, 0));
        assert_eq!(log.events(), ["between"]);
    }

    fn what_is_posted_under_one_name_does_not_reach_the_other() {
        let ((_old_name, old), (_new_name, new)) = (bus(&small()), bus(&small()));
        let (old_worker, new_worker) = (old.join_with(&quiet()).unwrap(), new.join_with(&quiet()).unwrap());
        // A process of the new release that reads the old bus as well, until no old worker is left.
        let drain = old.join_with(&quiet()).unwrap();
        let (carried, log) = (Log::of(&drain, Scope::All), Log::of(&new_worker, Scope::All));
        old_worker.post(("cache", "stale"), b"").unwrap();
        assert_eq!(poll(&new_worker), (0, 0), "the two names are one bus");
        poll(&drain);
        assert_eq!((carried.events(), log.len()), (vec!["stale".to_owned()], 0));
        let alive = || old.stats().unwrap().workers.iter().filter(|worker| worker.alive).count();
        assert_eq!(alive(), 2);
        old_worker.leave().unwrap();
        assert_eq!(alive(), 1, "the drain alone");
    }

    fn a_forwarded_event_keeps_its_topic_payload_type_and_key() {
        let ((_old_name, old), (_new_name, new)) = (bus(&small()), bus(&small()));
        // Two processes forward, and both buses have two workers.
        let forwarders = [0, 1].map(|_| (old.subscribe_with(&quiet()).unwrap(), new.publisher().unwrap()));
        let workers = [0, 1].map(|_| new.join_with(&quiet()).unwrap());
        let tags = shared_words(2);
        let logs = workers.each_ref().map(|worker| Log::of(worker, Scope::All));
        let note_tag = |event: &Event<'_>| tags[0].store(event.type_tag(), Relaxed);
        workers[0].on(Scope::events("s", ["tagged"]), note_tag).unwrap();
        let poster = old.join_with(&quiet()).unwrap();
        poster.post(("s", "tagged"), Tagged { type_tag: 77, bytes: b"payload" }).unwrap();
        for number in ["1", "2"] {
            poster.event(("s", "unique")).unique("key").ttl(Duration::from_nanos(1)).post(number).unwrap();
        }
        for (mut from, mut to) in forwarders {
            while let Some(delivery) = from.try_next().unwrap() {
                let event = delivery.event().expect("an event");
                to.forward(event).unwrap();
            }
        }
        workers.iter().for_each(|worker| assert_eq!(poll(worker).1, 0));
        assert_eq!(tags[0].load(Relaxed), 77);
        // What is not unique comes once from each that forwards it. The second unique event finds the key held.
        let [first, second] = logs.map(|log| log.seen());
        let is_tagged = |seen: &&Noted| (&*seen.event, &*seen.bytes) == ("tagged", b"payload");
        let tagged = |seen: &[Noted]| seen.iter().filter(is_tagged).count();
        assert_eq!([tagged(&first), tagged(&second)], [2, 2]);
        let unique: Vec<_> = first.iter().chain(&second).filter(|seen| seen.event == "unique").collect();
        assert_eq!(unique.len(), 1, "{unique:?}");
        assert_eq!(&*unique[0].bytes, b"1");
    }

    fn what_cannot_be_forwarded_is_refused() {
        let ((_old_name, old), (_new_name, new)) = (bus(&small()), bus(&small()));
        let (from, to) = (old.join_with(&quiet()).unwrap(), new.join_with(&quiet()).unwrap());
        let mut refused = Vec::new();
        drop(old.join().unwrap());
        from.post_local(("s", "value"), vec![1_i32]).unwrap();
        let polled = from.poll_with(|event| refused.push(to.forward(event).unwrap_err().kind()));
        assert_eq!(polled.unwrap().missed(), 0);
        assert_eq!(refused, [ErrorKind::Option, ErrorKind::LibrarySource, ErrorKind::LibrarySource]);
        assert_eq!(new.next_id(), 0, "after an error no worker sees the event");
    }

    fn unlink_on_drop_splits_the_bus_of_independent_processes() {
        let name = Name::new();
        let said = shared_words(1);
        let options = small().unlink_on_drop(true);
        let creator = Child::fork(|| {
            let bus = options.open_or_create(&name).unwrap();
            assert!(bus.was_created());
            let _worker = bus.join_with(&quiet()).unwrap();
            stop_here();
        });
        creator.await_stop();
        let survivor = Child::fork(|| {
            let bus = options.open_or_create(&name).unwrap();
            assert!(!bus.was_created());
            let worker = bus.join_with(&quiet()).unwrap();
            let log = Log::of(&worker, Scope::All);
            stop_here();
            assert!(!bus.is_current().unwrap());
            poll(&worker);
            said[0].store(log.len() as u64, Relaxed);
        });
        survivor.await_stop();
        creator.go_on();
        assert!(creator.ended_well());
        // The next process finds no name and is on a bus of its own.
        let next = options.open_or_create(&name).unwrap();
        assert!(next.was_created());
        next.publisher().unwrap().post(("cache", "stale"), b"").unwrap();
        survivor.go_on();
        assert!(survivor.ended_well());
        assert_eq!(said[0].load(Relaxed), 0, "the event reached the other bus");
    }

    fn the_last_of_many_processes_removes_the_name_and_no_other_does() {
        for _ in 0..10 {
            let name = Name::new();
            let removed = shared_words(1);
            let children: Vec<Child> = (0..6)
                .map(|_| {
                    Child::fork(|| {
                        let bus = small().open_or_create(&name).unwrap();
                        let worker = bus.join_with(&quiet()).unwrap();
                        stop_here();
                        assert!(bus.is_current().unwrap(), "a process that is here was split off");
                        worker.post(("s", "e"), b"").unwrap();
                        worker.leave().unwrap();
                        let is_last = bus.unlink_if_last().unwrap();
                        removed[0].fetch_add(u64::from(is_last), Relaxed);
                    })
                })
                .collect();
            children.iter().for_each(Child::await_stop);
            children.iter().for_each(Child::go_on);
            assert!(children.into_iter().all(Child::ended_well));
            assert_eq!(removed[0].load(Relaxed), 1);
            assert!(!name.path().exists());
        }
    }

    fn a_name_is_kept_while_anything_holds_the_segment_but_no_corpse_does() {
        let name = Name::new();
        let open = || small().open_or_create(&name).unwrap();
        let held = |what: &str| {
            assert!(!open().unlink_if_last().unwrap(), "it was removed under {what}");
            assert!(name.path().exists());
        };
        let bus = open();
        held("a bus");
        let publisher = bus.publisher().unwrap();
        drop(bus);
        held("a publisher");
        drop(publisher);
        let waker = open().join_with(&quiet()).unwrap().waker();
        held("a waker");
        drop(waker);
        let child = Child::fork(|| {
            let _worker = open().join_with(&quiet()).unwrap();
            stop_here();
        });
        child.await_stop();
        held("a stopped process");
        child.kill();
        // Inspectors do not count.
        let _inspector = small().inspect(&name).unwrap();
        assert!(open().unlink_if_last().unwrap());
        assert!(!name.path().exists());
    }

    fn a_name_that_leads_elsewhere_is_left_alone() {
        let (name, old) = bus(&small());
        old.unlink().unwrap();
        assert!(!old.unlink_if_last().unwrap(), "there is no name");
        let old = small().create(&name).unwrap();
        old.unlink().unwrap();
        let new = small().create(&name).unwrap();
        let id = new.id();
        drop(new);
        assert!(!old.unlink_if_last().unwrap());
        assert_eq!(Bus::open(&name).unwrap().id(), id);
        assert!(!small().anonymous().unwrap().unlink_if_last().unwrap());
    }

    fn g6_a_process_that_opens_the_name_while_it_is_removed_gets_a_bus() {
        let name = Name::new();
        let stop = shared_words(1);
        let remover = Child::fork(|| {
            while stop[0].load(Relaxed) == 0 {
                small().open_or_create(&name).unwrap().unlink_if_last().unwrap();
            }
        });
        for _ in 0..300 {
            let bus = small().open_or_create(&name).unwrap();
            let worker = bus.join_with(&quiet()).unwrap();
            assert!(bus.is_current().unwrap(), "it holds the segment, and the name is gone");
            worker.post(("s", "e"), b"").unwrap();
            assert!(matches!(worker.poll().unwrap(), Polled::Done { .. }));
        }
        stop[0].store(1, Relaxed);
        assert!(remover.ended_well());
    }
}
