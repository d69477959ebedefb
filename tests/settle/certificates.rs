//! A certificate that was altered, is unknown or stale, or speaks of something else is recognised, and said to be so.

use super::verb::verify;
use crate::generator::items::Shape;
use crate::roundtrip::export;
use crate::support::transvase::{Backfill, Target, targets};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;

const DOCUMENT: [&str; 2] = ["--key", "customer_id:S,order_id:S"];

/// A certificate with another figure; hashed anew, if whoever altered it knows how.
fn alter(folder: &Path, hashed: bool) {
    let text = std::fs::read_to_string(folder.join("c.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value["tables"][0]["equal"] = Value::from(7);
    if hashed {
        let fingerprint = value.as_object_mut().unwrap().remove("fingerprint").unwrap();
        let anew: String = Sha256::digest(value.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(fingerprint, Value::from(anew.clone()));
        value["fingerprint"] = Value::from(anew);
    }
    std::fs::write(folder.join("altered.json"), value.to_string()).unwrap();
}

async fn check_all(folder: &Path, from: &Path, other: &Path, target: &Target, second: &Target) {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let run = |from: &Path, target: &Target, more: &[&str]| {
        verify(folder, &text(from), target, &[&DOCUMENT[..], more].concat(), &[])
    };
    let check = |certificate: &str, says: &str| {
        let checked = run(from, target, &["--check", certificate]).expect(5);
        checked.says(&["DOES NOT STAND", says]);
    };
    Backfill::new(folder, from, target, &DOCUMENT).run().expect(0);
    Backfill::new(folder, from, second, &DOCUMENT).run().expect(0);
    run(from, target, &["--certificate", "c.json"]).expect(0).says(&["the certificate is in c.json"]);
    // another verification changes nothing about it
    run(from, target, &["--certificate", "later.json"]).expect(0);
    run(from, target, &["--check", "c.json"]).expect(0).says(&["it stands", "level full"]);
    run(from, target, &["--check", "later.json"]).expect(0);
    alter(folder, false);
    check("altered.json", "altered");
    alter(folder, true);
    check("altered.json", "altered");
    run(other, target, &["--check", "c.json"]).expect(5).says(&["of another source"]);
    let renamed = ["--check", "c.json", "--rename", "order_id=number"];
    run(from, target, &renamed).expect(5).says(&["of another key or mapping"]);
    run(from, second, &["--check", "c.json"]).expect(5).says(&["of another target", "unregistered"]);
    // a table's date of birth is in seconds
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let stale = run(from, target, &["--check", "c.json", "--max-age", "0s"]).expect(5);
    stale.says(&["stale"]);
    run(from, target, &["--check", "c.json", "--max-age", "1h"]).expect(0);
    run(from, target, &["--check", "c.json", "--max-age", "soon"]).expect(2).says(&["--max-age soon"]);
    std::fs::write(folder.join("none.json"), "{}").unwrap();
    run(from, target, &["--check", "none.json"]).expect(2).says(&["none.json is no certificate"]);
    target.execute("ALTER TABLE orders ADD COLUMN later INT NULL").await;
    check("c.json", "of another table: orders");
    target.execute("DROP TABLE orders").await;
    check("c.json", "of a table that is gone: orders");
    target.execute("DELETE FROM _transvase_certificates").await;
    check("c.json", "unregistered");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_certificate_is_said_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let from = export(folder.path(), Shape::Orders, 81, 200, 2);
    let other = export(folder.path(), Shape::Orders, 82, 200, 2);
    let pairs = targets(folder.path()).await.into_iter().zip(targets(folder.path()).await);
    for (target, second) in pairs {
        check_all(folder.path(), &from, &other, &target, &second).await;
    }
}
