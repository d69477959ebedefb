//! Rows that are too large for the server: rejected one by one, quoted whole, and all others arrive.

use super::retry::{assert_states, rejects};
use crate::support::canon;
use crate::support::servers::{BOTH, Kind, Server, ServerOptions, execute};
use crate::support::small_export::SmallExport;
use crate::support::transvase::{Backfill, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Lines by their keys: small items among large ones.
fn lines(large: impl Fn(u64) -> Option<String>) -> Vec<Vec<String>> {
    let line = |file: u64, number: u64| {
        let value = large(number).unwrap_or_else(|| r#"{"S":"small"}"#.to_owned());
        format!(r#"{{"Item":{{"pk":{{"S":"{file}-{number}"}},"value":{value}}}}}"#)
    };
    (0..3).map(|file| (0..60).map(|number| line(file, number)).collect()).collect()
}

/// Runs the lines into a server that takes packets of `packet`; checks that each line is a row or a reject, and that
/// exactly the lines that `too_large` tells are rejects.
async fn run(kind: Kind, packet: &str, files: Vec<Vec<String>>, too_large: impl Fn(&str) -> bool) {
    let extra = vec![format!("--max-allowed-packet={packet}")];
    let server = Server::start(kind, &ServerOptions { extra, ..ServerOptions::default() });
    let target = Target::server(server.database().await);
    let folder = tempfile::tempdir().unwrap();
    let export = SmallExport { files: files.clone(), ..SmallExport::new(0, 0, 0) };
    export.write(folder.path());
    let args = ["--key", "pk:S", "--max-rejects", "1000"];
    let ended = Backfill::new(folder.path(), &export.folder(folder.path()), &target, &args).run().expect(3);
    let all: BTreeMap<String, String> = files.into_iter().flatten().map(|line| (pk(&line), line)).collect();
    let (rejected, kept): (Vec<_>, Vec<_>) = all.iter().partition(|(_, line)| too_large(line));
    assert!(!rejected.is_empty() && kept.iter().any(|(_, line)| line.len() > 300_000), "the test tests something");
    ended.counts([180, kept.len() as u64, 0, 0, rejected.len() as u64]);
    let quoted: BTreeMap<String, Vec<u8>> =
        super::quoted(folder.path()).into_iter().map(|line| (pk(std::str::from_utf8(&line).unwrap()), line)).collect();
    assert_eq!(quoted.keys().collect::<Vec<_>>(), rejected.iter().map(|(pk, _)| *pk).collect::<Vec<_>>());
    for (pk, line) in &rejected {
        assert!(quoted[*pk] == line.as_bytes(), "{kind:?}: item {pk} is not quoted as it was");
    }
    assert_rows(&target, &all, kept.len()).await;
    // with room for them they are written after all, from the parts in which they were quoted
    execute(&mut server.admin().await, "SET GLOBAL max_allowed_packet = 67108864").await;
    let outcome = rejects(&target, "retry", &["--key", "pk:S"]).report().run().expect(0);
    assert_states(&outcome, [rejected.len() as u64, 0, 0, 0, 0]);
    assert_rows(&target, &all, all.len()).await;
}

/// So many rows, each of them the item of its line.
async fn assert_rows(target: &Target, lines: &BTreeMap<String, String>, count: usize) {
    let mut rows = 0;
    for row in target.rows("SELECT pk, item FROM orders").await {
        let line = &lines[std::str::from_utf8(row[0].as_ref().unwrap()).unwrap()];
        let found: Value = serde_json::from_slice(row[1].as_ref().unwrap()).unwrap();
        assert!(canon::item(&found) == canon::line(line.as_bytes()), "{target}: {}", pk(line));
        rows += 1;
    }
    assert_eq!(rows, count, "{target}");
}

fn pk(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["Item"]["pk"]["S"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_row_larger_than_a_packet_is_rejected_and_quoted_whole() {
    // 400 KB of text are 400 KB of JSON, or six times as much when every character is escaped
    let large = |number: u64| match number % 20 {
        3 => Some(json!({"S": "x".repeat(400_000)}).to_string()),
        7 => Some(format!(r#"{{"S":"{}"}}"#, "\\u0001".repeat(390_000))),
        11 => Some(format!(r#"{{"S":"{}"}}"#, "\\u0001".repeat(160_000))),
        _ => None,
    };
    for kind in BOTH {
        run(kind, "1M", lines(large), |line| line.len() > 1 << 20).await;
    }
}

#[tokio::test]
async fn a_document_that_outgrows_a_packet_inside_the_server_is_rejected_too() {
    // MySQL's own form of a list of small numbers is twice as long as its text: error 3150, though the packet fits
    let list = |members: usize| json!({"L": vec![json!({"N": "1"}); members]}).to_string();
    let large = |number: u64| match number % 20 {
        5 => Some(list(120_000)),
        9 => Some(list(60_000)),
        _ => None,
    };
    run(Kind::MySql, "2M", lines(large), |line| line.len() > 1_000_000).await;
}
