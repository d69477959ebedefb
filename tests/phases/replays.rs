//! What replays changes for a migration: it tells how far behind it is, and applies nothing once the target is the truth.

use crate::follow_stream::{backfill, follow};
use crate::support::orders::block_on;
use crate::support::streams_server::{Plot, StreamFaults, StreamsServer, TABLE, World};
use crate::support::transvase::{Target, targets};
use std::sync::Arc;
use std::time::Duration;
use transvase::checkpoint::phases::{Audit, Next, Phases};
use transvase::driver::pool::Pool;
use transvase::driver::target::{Target as Known, Tls};

fn known(target: &Target) -> Known {
    let Target::Server(database) = target else {
        let Target::Sqlite(path) = target else { unreachable!() };
        return Known::Sqlite(path.clone());
    };
    let mut known = Known::parse(&target.url(), Tls::Auto { ca: Some(database.ca_file.clone()) }).unwrap();
    if let Known::MySql(mysql) = &mut known {
        mysql.password = Some(database.password().to_owned());
    }
    known
}

async fn put(phases: &Phases, step: u8) {
    let now = phases.load().await.unwrap().unwrap();
    let next = Next { step, barrier: None, generation: now.generation, within_barrier: false, releases_lock: false };
    assert!(phases.transit(&now, next, &Audit::new("test", "put", None, "{}")).await.unwrap());
}

/// How far behind the stream's run is.
async fn lag(phases: &Phases) -> Option<u64> {
    lag_since(phases, 0).await
}

/// The same, of one that has looked for more then.
async fn lag_since(phases: &Phases, at_us: i64) -> Option<u64> {
    let replays = phases.replays(at_us).await.unwrap();
    let [replay] = replays.as_slice() else { return None };
    assert_eq!(replay.run, format!("{TABLE}.stream"));
    replay.lag
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_tells_that_it_has_caught_up_and_ends_when_the_target_is_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        let story = Plot { seed: 3, keys: 20, before: 40, during: 80, closes: 1, late: 1 };
        let server = StreamsServer::start(World::new(story), StreamFaults::default());
        backfill(&server.url(), &target, &["--capture"]).run().expect(0);
        let phases = Phases::create(Arc::new(Pool::new(known(&target), 2)), TABLE).await.unwrap();
        phases.begin("dynamodb-to-mysql", &Audit::new("test", "begin", None, "{}")).await.unwrap();
        put(&phases, 4).await;
        assert_eq!(lag(&phases).await, None, "nobody follows");
        // all that happens has happened: a lag of nothing is one behind the end
        server.world(|world| world.play(usize::MAX));
        let mut running = follow(&server.url(), &target, &[]).spawn();
        while lag(&phases).await != Some(0) {
            assert!(!running.has_ended(), "{}", running.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // nothing is behind: all that the table holds is in the target
        let truth = server.world(|world| world.items.clone());
        assert_eq!(crate::follow_stream::held(&target, TABLE).await, truth, "{target}");
        // it does not know yet what was written until now, and then it does
        let stopped_us = phases.now_us().await.unwrap();
        assert_ne!(lag_since(&phases, i64::MAX).await, Some(0));
        while lag_since(&phases, stopped_us).await != Some(0) {
            assert!(!running.has_ended(), "{}", running.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        put(&phases, 5).await;
        let epochs = target.rows("SELECT unit, epoch FROM _transvase_fences ORDER BY unit").await;
        let ended = running.wait(Duration::from_secs(60)).expect(6);
        assert!(ended.stderr.contains("the target is the source of truth by now"), "{}", ended.stderr);
        assert_eq!(target.rows("SELECT unit, epoch FROM _transvase_fences ORDER BY unit").await, epochs);
        let refused = follow(&server.url(), &target, &[]).run().expect(6);
        assert!(refused.stderr.contains("the target is the source of truth by now"), "{}", refused.stderr);
        // what told nothing lately does not live
        target.execute("UPDATE _transvase_replays SET told_us = told_us - 11000000").await;
        assert_eq!(lag(&phases).await, None);
    }
}

#[test]
fn claims_of_replays_are_void_from_the_transition_on_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    for place in crate::support::orders::Place::all(folder.path()) {
        let phases = super::begun(&place);
        block_on(async {
            put(&phases, 4).await;
            let pool = Arc::new(Pool::new(super::target(&place), 1));
            transvase::checkpoint::run::Checkpoint::open(pool, "orders.stream").await.unwrap();
            assert!(phases.register_replay("orders.stream").await.unwrap());
        });
        place.execute(
            "INSERT INTO _transvase_fences (run, unit, epoch) VALUES ('orders.stream', 0, 7), ('orders', 0, 7)",
        );
        let epochs = || {
            let of = |run: &str| place.count(&format!("SELECT epoch FROM _transvase_fences WHERE run = '{run}'"));
            (of("orders.stream"), of("orders"))
        };
        block_on(put(&phases, 3));
        assert_eq!(epochs(), (7, 7));
        block_on(put(&phases, 5));
        assert_eq!(epochs(), (8, 7));
        assert!(!block_on(phases.register_replay("orders.stream")).unwrap());
        block_on(put(&phases, 4));
        assert_eq!(epochs(), (8, 7));
        assert!(block_on(phases.register_replay("orders.stream")).unwrap());
    }
}
