//! A copy that was made by a scan: it is of when the scan began, by the target's clock.

use super::{World, moment, rewrite, with_credentials};
use crate::generator::orders::write_version;
use crate::incremental::Options;
use crate::support::dynamo::DynamoServer;
use crate::support::engine::Engine;
use crate::support::orders::KEY;
use serde_json::Value;

const ARN: &str = "arn:aws:dynamodb:eu-north-1:123456789012:table/orders";

#[test]
fn a_copy_by_scan_is_followed_from_five_minutes_before_the_scan() {
    let world = World::new(Options { items: 150, windows: 2, changes: 120, seed: 41, ..Options::default() });
    let (server, place) = (DynamoServer::start(), world.file("scanned.db"));
    server.create("orders", KEY);
    let item = |(index, version): (&u64, &u32)| {
        let mut text = Vec::new();
        write_version(world.options.seed, *index, *version, &mut text).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()
    };
    server.load("orders", world.chain.exported.iter().map(item));
    let copy = Engine::new(&["backfill", "--from", "dynamodb://orders", "--to", &place.url()]);
    let copy = copy.args(&["--endpoint-url", &server.url(), "--segments", "3", "--read-capacity", "unlimited"]);
    with_credentials(copy).run().expect(0);
    let chain_of_another = world.follow(world.window(0), &place).run().expect(6);
    assert!(chain_of_another.stderr.contains("copied another one"), "{}", chain_of_another.stderr);

    let settings = place.query("SELECT settings FROM _transvase_runs")[0][0].clone().unwrap();
    let settings: Value = serde_json::from_slice(&settings).unwrap();
    let (arn, id) = settings["source"].as_str().unwrap().split_once(' ').unwrap();
    let began = settings["as_of_us"].as_u64().unwrap() / 1_000_000;
    let old_id = format!("cf263806-5a10-4c5b-9d2e-{:012x}", world.options.seed);
    let mut from = began - 200;
    for window in &world.chain.windows {
        let (begins, ends) = (moment(window.span.0), moment(window.span.1));
        rewrite(
            &window.folder,
            &[
                (&format!("exportFromTime\":\"{begins}"), &format!("exportFromTime\":\"{}", moment(from))),
                (&format!("exportToTime\":\"{ends}"), &format!("exportToTime\":\"{}", moment(from + 900))),
                (ARN, arn),
                (&old_id, id),
            ],
        );
        from += 900;
    }
    let late = world.follow(world.window(0), &place).run().expect(6);
    assert!(late.stderr.contains("five minutes earlier"), "{}", late.stderr);
    let (late, early) = (moment(began - 200), moment(began - 301));
    rewrite(world.window(0), &[(&format!("exportFromTime\":\"{late}"), &format!("exportFromTime\":\"{early}"))]);
    for window in &world.chain.windows {
        let outcome = world.follow(&window.folder, &place).run().expect(0);
        world.assert_is(&place, &window.truth, "after a window");
        assert!(outcome.stderr.contains("note: the copy was made by a scan"), "{}", outcome.stderr);
    }
}
