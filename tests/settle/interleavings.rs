//! Every interleaving of mending a row with one dual write to it: in both orders, of every kind, each half at every moment
//! from before the lock to after the read. In the end the target holds what the source holds.
//!
//! A key's fourth read is the one under the lock: three looks come before.

use super::world::{
    Memory, Moment, Papers, Script, Watched, mapping, pair, patience, settle, target_items, write_target,
};
use crate::support::transvase::{Target, targets};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use transvase::driver::session::BoxFuture;
use transvase::model::difference::{Kind, Verdict};

/// One dual write.
#[derive(Clone, Copy, Debug)]
struct Write {
    kind: Kind,
    source_first: bool,
    /// What the application makes of the key.
    value: Option<u64>,
    /// When its halves are due: 0 before the lock, 1 under it before the read, 2 after the read.
    halves: (u8, u8),
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    first_done: bool,
    second_due: bool,
    second_done: bool,
}

struct Application {
    target: Target,
    source: Arc<Memory>,
    writes: BTreeMap<String, Write>,
    progress: Arc<Mutex<BTreeMap<String, Progress>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Application {
    /// Does the half that writes to the target, and the source's after it where that is due.
    fn target_half(&self, key: &str, write: Write) -> impl Future<Output = ()> + Send + 'static {
        let (target, source, progress) = (self.target.clone(), Arc::clone(&self.source), Arc::clone(&self.progress));
        let key = key.to_owned();
        async move {
            write_target(&target, &key, write.value).await;
            let mut progress = progress.lock().unwrap();
            let mine = progress.entry(key.clone()).or_default();
            if write.source_first {
                mine.second_done = true;
                return;
            }
            mine.first_done = true;
            if mine.second_due {
                source.set(&key, write.value);
                mine.second_done = true;
            }
        }
    }

    async fn reach(&self, key: &str, moment: u8) {
        let write = self.writes[key];
        for (is_first, due) in [(true, write.halves.0), (false, write.halves.1)] {
            if due != moment {
                continue;
            }
            if is_first != write.source_first {
                // Under the lock it waits; the engine must not.
                let half = self.target_half(key, write);
                match moment {
                    0 => half.await,
                    _ => self.tasks.lock().unwrap().push(tokio::spawn(half)),
                }
                continue;
            }
            let mut progress = self.progress.lock().unwrap();
            let mine = progress.entry(key.to_owned()).or_default();
            if is_first || mine.first_done {
                self.source.set(key, write.value);
                mine.first_done = true;
                mine.second_done |= !is_first;
            } else {
                mine.second_due = true;
            }
        }
    }
}

impl Script for Application {
    fn at<'a>(&'a self, key: &'a str, read: u32, moment: Moment) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match (read, moment) {
                (3, Moment::After) => self.reach(key, 0).await,
                (4, Moment::Before) => self.reach(key, 1).await,
                (4, Moment::After) => self.reach(key, 2).await,
                _ => {}
            }
        })
    }
}

/// What source and target hold at first.
fn at_first(kind: Kind) -> (Option<u64>, Option<u64>) {
    match kind {
        Kind::Different => (Some(1), Some(0)),
        Kind::Missing => (Some(1), None),
        Kind::Extra => (None, Some(0)),
    }
}

fn every_write() -> BTreeMap<String, Write> {
    let mut writes = BTreeMap::new();
    for kind in [Kind::Different, Kind::Missing, Kind::Extra] {
        // a new value, the one that the target holds, and none
        for value in [Some(2), at_first(kind).1.or(Some(1)), None] {
            for source_first in [true, false] {
                for halves in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)] {
                    let write = Write { kind, source_first, value, halves };
                    writes.insert(format!("{write:?}"), write);
                }
            }
        }
    }
    assert_eq!(writes.len(), 3 * 3 * 2 * 6);
    writes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_write_of_an_application_is_undone_by_mending() {
    let folder = tempfile::tempdir().unwrap();
    for target in targets(folder.path()).await {
        for deletes_extras in [true, false] {
            let source = Arc::new(Memory::default());
            let writes = every_write();
            let application = Arc::new(Application {
                target: target.clone(),
                source: Arc::clone(&source),
                writes: writes.clone(),
                progress: Arc::default(),
                tasks: Mutex::default(),
            });
            let watched = Watched::new(Arc::clone(&source) as _, Arc::clone(&application) as _);
            let pair = pair(Arc::new(watched), mapping(), &target).await;
            target.execute("DELETE FROM t").await;
            for (key, write) in &writes {
                let (in_source, in_target) = at_first(write.kind);
                source.set(key, in_source);
                if in_target.is_some() {
                    write_target(&target, key, in_target).await;
                }
            }
            let papers = Papers::of(writes.iter().map(|(key, write)| (key.clone(), write.kind)));
            settle(&pair, &papers, patience(30), Some(deletes_extras)).await;
            let tasks: Vec<JoinHandle<()>> = application.tasks.lock().unwrap().drain(..).collect();
            for task in tasks {
                task.await.unwrap();
            }
            let verdicts = papers.verdicts();
            let (held, truth) = (target_items(&target).await, source.0.lock().unwrap().clone());
            let progress = application.progress.lock().unwrap().clone();
            for (key, write) in &writes {
                let verdict = verdicts[key];
                // An extra that nobody may delete is confirmed as the third look ends, and left alone: its writes stop there.
                let left_alone = write.kind == Kind::Extra && !deletes_extras && verdict.1 == Verdict::Confirmed;
                if left_alone {
                    continue;
                }
                assert!(progress[key].second_done, "{target}: {key}: the application did not get through");
                assert_eq!(held.get(key), truth.get(key), "{target}, deletes {deletes_extras}: {key}: {verdict:?}");
                // A write of the application may wait for a lock for longer than three looks take here.
                let is_late = verdict == (Kind::Extra, Verdict::Confirmed) && !deletes_extras;
                let ended = matches!(verdict.1, Verdict::Repaired | Verdict::Settled);
                assert!(ended || is_late, "{target}: {key}: {verdict:?}");
            }
            let repaired = verdicts.values().filter(|(_, verdict)| *verdict == Verdict::Repaired).count();
            assert!(repaired > 20, "{target}: {repaired} rows were mended");
        }
    }
}
