//! A copy of a full export follows a chain of incremental ones: after each window the target is what the table was.
//!
//! The chain is the generator's, which tells the table after each window; what the target holds is read back and compared
//! without any of the engine's code.

mod applied;
mod beside;
mod refused;
mod requested;
mod scanned;
mod until;

use crate::generator::export::write_manifest;
use crate::generator::orders::{write_moment, write_version};
use crate::incremental::{self, Chain, Options, State};
use crate::support::canon;
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::{Engine, Outcome};
use crate::support::orders::{KEY, Place};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A generated chain, in a folder that stands for the bucket.
struct World {
    folder: tempfile::TempDir,
    options: Options,
    chain: Chain,
}

impl World {
    fn new(options: Options) -> World {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { out: folder.path().join("bucket"), ..options };
        let chain = incremental::write(&options).unwrap();
        // what lies in the folder that all windows share is no export, whatever it looks like
        let decoy = folder.path().join("bucket/AWSDynamoDB/data/01768385930000-00000000");
        std::fs::create_dir_all(&decoy).unwrap();
        std::fs::write(decoy.join("_started"), "").unwrap();
        World { folder, options, chain }
    }

    /// Some 300 orders and four windows.
    fn small(seed: u64) -> World {
        World::new(Options { items: 300, windows: 4, changes: 220, seed, ..Options::default() })
    }

    fn bucket(&self) -> &Path {
        &self.options.out
    }

    fn window(&self, at: usize) -> &Path {
        &self.chain.windows[at].folder
    }

    /// A file of its own.
    fn file(&self, name: &str) -> Place {
        Place::File(self.folder.path().join(name))
    }

    fn verb(&self, verb: &str, from: &Path, place: &Place) -> Engine {
        let engine =
            Engine::new(&[verb, "--from", from.to_str().unwrap(), "--key", KEY, "--to", &place.url()]).report();
        match place {
            Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
            Place::File(_) => engine,
        }
    }

    /// The copy of the full export.
    #[track_caller]
    fn copy(&self, place: &Place) {
        self.verb("backfill", &self.chain.full, place).run().expect(0);
        self.assert_is(place, &self.chain.exported, "the copy");
    }

    fn follow(&self, from: &Path, place: &Place) -> Engine {
        self.verb("follow", from, place)
    }

    /// What the generator says that the table holds, as canonical items.
    fn truth(&self, state: &State) -> Vec<Value> {
        let item = |(index, version): (&u64, &u32)| {
            let mut text = Vec::new();
            write_version(self.options.seed, *index, *version, &mut text).unwrap();
            canon::item(&serde_json::from_slice(&text).unwrap())
        };
        canon::sorted_items(state.iter().map(item).collect())
    }

    /// The target holds exactly this.
    #[track_caller]
    fn assert_is(&self, place: &Place, state: &State, when: &str) {
        let cast = if matches!(place, Place::File(_)) { "item" } else { "CAST(item AS CHAR)" };
        let rows = place.query(&format!("SELECT {cast} FROM orders"));
        let item = |row: &Vec<Option<Vec<u8>>>| canon::item(&serde_json::from_slice(row[0].as_ref().unwrap()).unwrap());
        let found = canon::sorted_items(rows.iter().map(item).collect());
        assert!(found == self.truth(state), "{when}: {} rows, {} items", rows.len(), state.len());
    }

    /// The table at the end of the chain.
    fn end(&self) -> &State {
        &self.chain.windows.last().unwrap().truth
    }

    /// It ended caught up: every change of every window was done once, and the target is the table at the chain's end.
    #[track_caller]
    fn assert_caught_up(&self, place: &Place, outcome: Outcome) -> Outcome {
        let outcome = outcome.expect(0);
        assert_eq!(outcome.report["status"], "caught-up", "{}", outcome.report);
        self.assert_counts(&outcome);
        self.assert_is(place, self.end(), "at the end");
        outcome
    }

    /// The report counts each change of the chain once, by window and in all.
    #[track_caller]
    fn assert_counts(&self, outcome: &Outcome) {
        let mut all = [0; 3];
        for (at, window) in self.chain.windows.iter().enumerate() {
            let (puts, deletes) = window.changes;
            let found = ["read", "written", "removed"].map(|name| outcome.number(&format!("/windows/{at}/{name}")));
            assert_eq!(found, [puts + deletes, puts, deletes], "window {at} of {}", outcome.report);
            all = [all[0] + found[0], all[1] + found[1], all[2] + found[2]];
        }
        assert_eq!(["read", "written", "removed"].map(|name| outcome.number(&format!("/{name}"))), all);
    }
}

/// A moment, in seconds since 1970, as manifests write it, without its fraction.
fn moment(seconds: u64) -> String {
    // 2024-01-01
    let mut text = Vec::new();
    write_moment(seconds - 1_704_067_200, &mut text).unwrap();
    String::from_utf8(text).unwrap().replace('Z', "")
}

/// Edits an export's summary, and its checksum; each edit must find something.
fn rewrite(folder: &Path, edits: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(folder.join("manifest-summary.json")).unwrap();
    for (from, to) in edits {
        assert!(text.contains(from), "{from} is not in {text}");
        text = text.replace(from, to);
    }
    write_manifest(folder, "manifest-summary", &text, "md5").unwrap();
}

/// The status of each window of a report.
fn statuses(outcome: &Outcome) -> Vec<String> {
    let windows = outcome.report["windows"].as_array().unwrap();
    windows.iter().map(|window| window["status"].as_str().unwrap().to_owned()).collect()
}

/// With credentials for a server of ours, and nothing of this machine's own settings.
fn with_credentials(engine: Engine) -> Engine {
    let engine = engine.without_env("AWS_PROFILE").env("AWS_CONFIG_FILE", "/dev/null");
    let engine = engine.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value))
}

/// A verb into table `orders` of a DynamoDB server, its state in `state`.
fn into_dynamo(verb: &str, from: &Path, server: &DynamoServer, state: &Path) -> Engine {
    let (url, state) = (server.url(), format!("sqlite:{}", state.display()));
    with_credentials(Engine::new(&[verb, "--from", from.to_str().unwrap(), "--to", "dynamodb://orders"]))
        .args(&["--endpoint-url", &url, "--state", &state, "--write-capacity", "unlimited"])
        .report()
}

/// A path that is gone when the world is.
fn within(world: &World, name: &str) -> PathBuf {
    world.folder.path().join(name)
}
