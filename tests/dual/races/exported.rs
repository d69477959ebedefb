//! The export that was taken before the dual writes began.

use super::super::loading::copy;
use super::super::{items, key, order, rows, runtime};
use crate::phases::{begun, put};
use crate::support::dynamo::DynamoServer;
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{KEY, Place};
use crate::support::small_export::SmallExport;
use serde_json::json;
use std::path::Path;
use transvase::dual::stores::{Item, Items, Rows, When};

/// An hour after what the export is of, in microseconds since 1970.
const BEGAN: u64 = 1_768_385_930_622_000 + 3_600_000_000;

/// The copy of an export of orders 0 and 1, the second of them as it was then.
fn copy_of_export(place: &Place, folder: &Path) -> Outcome {
    let lines = (0..2).map(|number| json!({"Item": order(number, 1)}).to_string()).collect();
    let export = SmallExport { files: vec![lines], ..SmallExport::new(0, 0, 0) };
    export.write(folder);
    let from = export.folder(folder);
    let engine = Engine::new(&["backfill", "--from", from.to_str().unwrap(), "--key", KEY, "--to", &place.url()]);
    let Place::Server(database) = place else { panic!("this is played on servers") };
    engine.env("MYSQL_PWD", database.password()).run()
}

/// Since when, by what is kept of the migration, each instance writes to both stores.
fn dual_since(place: &Place, at_us: u64) {
    place.execute(&format!("UPDATE _transvase_phase_history SET at_us = {at_us}"));
}

/// What the target holds of orders 0 to 2.
fn held(place: &Place) -> [Option<Item>; 3] {
    runtime().block_on(async {
        let rows = rows(place).await;
        let row = async |number| rows.row(&key(&order(number, 0))).await.unwrap();
        [row(0).await, row(1).await, row(2).await]
    })
}

#[test]
fn an_export_of_before_the_dual_writes_is_refused_and_would_lack_what_was_written_in_between() {
    let truth = [Some(order(0, 1)), Some(order(1, 2)), Some(order(2, 1))];
    for place in Place::servers() {
        let folder = tempfile::tempdir().unwrap();
        let server = DynamoServer::start();
        // to the table alone: the application does not write to both yet
        runtime().block_on(async {
            let table = items(&server).await;
            for item in truth.iter().flatten() {
                table.write(&key(item), Some(item), &When::Always).await.unwrap();
            }
        });
        put(&begun(&place), 2);
        dual_since(&place, BEGAN);
        let refused = copy_of_export(&place, folder.path()).expect(6).stderr;
        assert!(refused.contains("may be missing in it"), "{refused}");
        assert_eq!(place.count("SELECT COUNT(*) FROM orders"), 0);
        // what is of long after that has it all
        dual_since(&place, 1);
        copy(&server, &place, &place.url()).args(&["--run", "later"]).run().expect(0);
        assert_eq!(held(&place), truth);
    }
    for place in Place::servers() {
        let folder = tempfile::tempdir().unwrap();
        put(&begun(&place), 2);
        dual_since(&place, 1);
        copy_of_export(&place, folder.path()).expect(0);
        assert_eq!(held(&place), [Some(order(0, 1)), Some(order(1, 1)), None]);
    }
}
