//! The bus against the reference model of the testkit: random operations of several workers in one process.

use proptest::collection::vec;
use proptest::prelude::*;
use seqcast_testkit::model::op::{From, Op, Scoped};
use seqcast_testkit::model::{Both, EVENTS, KEYS, RETAINED_KEYS, SOURCES, WORKERS};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let worker = 0..WORKERS;
    let topic = (0..SOURCES.len(), 0..EVENTS.len());
    let len = prop_oneof![6 => 0..60_usize, 2 => 60..300_usize, 1 => 300..1000_usize];
    let scope = prop_oneof![
        Just(Scoped::All),
        (0..SOURCES.len()).prop_map(Scoped::Source),
        (0..SOURCES.len(), 1..4_u8).prop_map(|(source, events)| Scoped::Events(source, events)),
    ];
    let from = prop_oneof![
        Just(From::Now),
        Just(From::Oldest),
        (0..40_u64).prop_map(From::At),
        (0..40_u64).prop_map(From::After),
        Just(From::Retained),
    ];
    let key = 0..RETAINED_KEYS.len();
    let most = prop_oneof![3 => Just(u64::MAX), 1 => 0..4_u64];
    vec(
        prop_oneof![
            10 => (worker.clone(), topic.clone(), len.clone())
                .prop_map(|(worker, topic, len)| Op::Post { worker, topic, len }),
            6 => (worker.clone(), topic.clone(), len.clone(), 0..KEYS.len(), any::<bool>())
                .prop_map(|(worker, topic, len, key, lasting)| Op::PostUnique { worker, topic, len, key, lasting }),
            3 => (worker.clone(), topic.clone()).prop_map(|(worker, topic)| Op::PostLocal { worker, topic }),
            10 => (worker.clone(), most).prop_map(|(worker, most)| Op::Poll { worker, most }),
            2 => worker.clone().prop_map(|worker| Op::Reserve { worker }),
            2 => (worker.clone(), topic.clone(), len.clone())
                .prop_map(|(worker, topic, len)| Op::Commit { worker, topic, len }),
            1 => worker.clone().prop_map(|worker| Op::DropReservation { worker }),
            3 => (worker.clone(), 0..KEYS.len(), any::<bool>())
                .prop_map(|(worker, key, lasting)| Op::Claim { worker, key, lasting }),
            2 => worker.clone().prop_map(|worker| Op::Release { worker }),
            1 => (worker.clone(), 0..KEYS.len()).prop_map(|(worker, key)| Op::ReleaseClaim { worker, key }),
            4 => (worker.clone(), scope, any::<bool>())
                .prop_map(|(worker, scope, weak)| Op::Register { worker, scope, weak }),
            1 => (worker.clone(), 0..8_usize).prop_map(|(worker, nth)| Op::Unregister { worker, nth }),
            1 => (worker.clone(), 0..8_usize).prop_map(|(worker, nth)| Op::DropOwner { worker, nth }),
            1 => worker.clone().prop_map(|worker| Op::Leave { worker }),
            8 => (worker.clone(), topic.clone(), key.clone(), len, any::<bool>()).prop_map(
                |(worker, topic, key, len, lasting)| Op::Retain { worker, topic, key, len, lasting }
            ),
            2 => (worker.clone(), topic.clone(), key.clone())
                .prop_map(|(worker, topic, key)| Op::Clear { worker, topic, key }),
            3 => (worker.clone(), topic.clone(), key).prop_map(|(worker, topic, key)| Op::Get { worker, topic, key }),
            4 => (worker.clone(), topic, 0..120_usize)
                .prop_map(|(worker, topic, len)| Op::TryPost { worker, topic, len }),
            3 => (worker, from, any::<bool>(), any::<bool>())
                .prop_map(|(worker, from, resync, must)| Op::Join { worker, from, resync, must }),
        ],
        1..80,
    )
}

proptest! {
    // 256 cases, or the value of PROPTEST_CASES. Failures are not kept in a file, because keys hash differently in
    // every segment.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g1_to_g18_any_operations_do_what_the_model_predicts(
        ops in ops(),
        large in prop_oneof![Just(None), Just(Some((2, 160))), Just(Some((4, 160)))],
        announce in any::<bool>(),
        must in prop_oneof![Just(0), 0..1_u8 << WORKERS],
    ) {
        let mut both = Both::new(16, 96, large, announce, must);
        for op in &ops {
            both.run(op);
            both.check();
        }
        both.end();
    }
}
