//! One story: a copy and a follower, both killed at moments that a seed chooses and started again by the same command, while
//! the application writes; then the end of it, and what must be true.

use super::application::{COPY, Source};
use super::shapes::{Shape, dress};
use crate::crash::points::POINTS;
use crate::support::canon;
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::engine::{Engine, Outcome, Running};
use crate::support::streams_server::TABLE;
use crate::support::transvase::Target;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where a follower may die by its own doing, beside where any process may; else it is killed at some time.
const EMPTY: &str = "page-empty";

/// Longer than any process lives that is not stuck.
const LIMIT: Duration = Duration::from_secs(240);

/// Rejects are a part of the story.
const REJECTS: [&str; 2] = ["--max-rejects", "1000000"];

/// Where the copy goes.
pub(super) enum Into {
    Rows(Target, Shape),
    Items,
}

/// A story.
pub(super) struct Story<'f> {
    pub(super) seed: u64,
    pub(super) source: Source,
    pub(super) into: Into,
    /// The follower begins with the copy, and not after it.
    pub(super) beside: bool,
    /// Of each process.
    pub(super) deaths: u32,
    pub(super) folder: &'f Path,
}

/// A process that dies so many times, and is begun again each time.
struct Process {
    deaths: u32,
    running: Option<Running>,
    until: Option<Instant>,
}

impl Process {
    fn new(deaths: u32) -> Process {
        Process { deaths, running: None, until: None }
    }

    /// Begins it if it is not running, and says how it ended when it has. Killed is ended, too.
    fn tend(&mut self, rng: &mut StdRng, engine: impl FnOnce() -> Engine) -> Option<Outcome> {
        let Some(running) = &mut self.running else {
            let mut engine = engine();
            self.until = None;
            if self.deaths > 0 {
                if rng.random_bool(0.5) {
                    let point = POINTS.get(rng.random_range(0..=POINTS.len())).unwrap_or(&EMPTY);
                    engine = engine.env("TRANSVASE_ABORT_AT", &format!("{point}:{}", rng.random_range(1..7)));
                }
                self.until = Some(Instant::now() + Duration::from_millis(rng.random_range(30..2500)));
            }
            self.running = Some(engine.spawn());
            return None;
        };
        let outcome = if running.has_ended() {
            self.running.take()?.wait(LIMIT)
        } else if self.until.is_some_and(|until| until <= Instant::now()) {
            self.running.take()?.kill()
        } else {
            return None;
        };
        self.deaths -= u32::from(outcome.signal().is_some());
        Some(outcome)
    }
}

impl Story<'_> {
    fn engine(&self, verb: &str, from: &str, args: &[&str]) -> Engine {
        let url = self.source.url();
        let engine = Engine::new(&[verb, "--from", from, "--endpoint-url", &url, "--lease-seconds", "2"]);
        let engine = AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value));
        let engine = match &self.into {
            Into::Items => {
                let (to, state) = (format!("dynamodb://{COPY}"), self.folder.join(format!("{}.state.db", self.seed)));
                let state = format!("sqlite:{}", state.display());
                engine.args(&["--to", &to, "--state", &state, "--write-capacity", "unlimited"])
            }
            Into::Rows(target, shape) => {
                let flags = shape.flags(self.folder);
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                let engine = engine.args(&["--to", &target.url()]).args(&flags);
                match target {
                    Target::Server(database) => engine
                        .args(&["--tls-ca", &database.ca_file.display().to_string()])
                        .env("MYSQL_PWD", database.password()),
                    Target::Sqlite(_) => engine,
                }
            }
        };
        engine.args(args).report()
    }

    fn copy(&self) -> Engine {
        let seed = self.seed.to_string();
        // in pages of a few items
        let args = ["--capture", "--read-capacity", "12", "--segments", "8", "--seed", &seed];
        let engine = self.engine("backfill", &format!("dynamodb://{TABLE}"), &args).args(&REJECTS);
        let create = matches!(self.into, Into::Rows(_, Shape::Typed));
        let engine = engine.args(if create { &["--create-tables"] } else { &[] });
        engine.args(if self.beside { &["--live-target"] } else { &[] })
    }

    fn follow(&self, args: &[&str]) -> Engine {
        self.engine("follow", &format!("streams://{TABLE}"), args).args(&REJECTS)
    }

    fn verify(&self) -> Engine {
        let state = format!("sqlite:{}", self.folder.join(format!("{}.verify.db", self.seed)).display());
        let args = ["--level", "full", "--read-capacity", "unlimited", "--segments", "4"];
        let engine = self.engine("verify", &format!("dynamodb://{TABLE}"), &args);
        if matches!(self.into, Into::Items) { engine } else { engine.args(&["--state", &state]) }
    }

    fn about(&self) -> String {
        let (source, beside) = (
            if matches!(self.source, Source::Emulator { .. }) { "emulator" } else { "lineages" },
            if self.beside { "beside" } else { "after" },
        );
        match &self.into {
            Into::Items => format!("seed {}: {source} into a table", self.seed),
            Into::Rows(target, shape) => format!("seed {}: {source} into {target}, {shape:?}, {beside}", self.seed),
        }
    }

    /// Plays it to its end.
    pub(super) fn play(mut self) {
        let about = self.about();
        let mut rng = StdRng::seed_from_u64(self.seed);
        let (mut copy, mut follower) = (Process::new(self.deaths), Process::new(self.deaths));
        let mut copied = false;
        // the follower is left running at the end of this only when it has died often enough
        while !copied || follower.deaths > 0 {
            if !copied && let Some(ended) = copy.tend(&mut rng, || self.copy()) {
                copied = self.ended(ended, &about);
            }
            if (copied || self.beside)
                && let Some(ended) = follower.tend(&mut rng, || self.follow(&[]))
            {
                let too_early = ended.code() == Some(6) && ended.stderr.contains("holds no run");
                assert!(too_early || !self.ended(ended, &about), "{about}: it follows until it is told to stop");
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        if let Some(running) = follower.running.take() {
            // the application writes still
            std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
            running.signal(if rng.random_bool(0.5) { "TERM" } else { "KILL" });
            let stopped = running.wait(LIMIT);
            // or told so before it listens
            assert!(stopped.code() == Some(4) || stopped.signal().is_some(), "{about}: {stopped:?}");
            self.source.forget_readers();
        }
        let (truth, followed) = self.catch_up(&mut rng, &about);
        self.check(&truth, &followed, &about);
    }

    /// Whether a process has done all there was to do; it may have been killed, and must not have failed.
    fn ended(&self, outcome: Outcome, about: &str) -> bool {
        let killed = outcome.signal().is_some();
        if killed {
            self.source.forget_readers();
        }
        assert!(killed || matches!(outcome.code(), Some(0 | 3)), "{about}: {:?}\n{}", outcome.status, outcome.stderr);
        !killed
    }

    /// Follows until nothing more is written and it says that it is caught up; dies once more on the way.
    fn catch_up(&mut self, rng: &mut StdRng, about: &str) -> (BTreeMap<String, u64>, Outcome) {
        let mut truth = self.source.end();
        let mut last = Process::new(1);
        loop {
            let settled = truth.is_some();
            let ended = loop {
                if let Some(ended) = last.tend(rng, || self.follow(&["--until", "caught-up"])) {
                    break ended;
                }
                std::thread::sleep(Duration::from_millis(3));
            };
            let followed = ended.signal().is_none();
            if followed {
                assert!(ended.stdout.contains("caught up"), "{about}: {}\n{}", ended.stdout, ended.stderr);
                assert!(matches!(ended.code(), Some(0 | 3)), "{about}: {ended:?}");
            } else {
                self.source.forget_readers();
            }
            match truth.take() {
                Some(truth) if followed && settled => return (truth, ended),
                Some(known) => truth = Some(known),
                None => truth = self.source.end(),
            }
        }
    }

    /// What the target holds is what the table holds, by our own eyes and by the engine's; every change is counted once.
    fn check(&self, truth: &BTreeMap<String, u64>, followed: &Outcome, about: &str) {
        match &self.into {
            Into::Rows(target, shape) => {
                let (found, expected) = (shape.found(target), shape.expected(truth));
                let lacks: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
                let wrong: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
                assert!(lacks.is_empty() && wrong.is_empty(), "{about}: lacks {lacks:?}, holds {wrong:?}");
                assert_eq!(found.len(), expected.len(), "{about}");
            }
            Into::Items => {
                let items = truth.iter().map(|(key, version)| canon::item(&dress(key, *version))).collect();
                assert_eq!(self.source.copied(), canon::sorted_items(items), "{about}");
            }
        }
        let count = |name: &str| followed.number(&format!("/{name}"));
        let ends = ["outcomes/written", "removed", "superseded", "outcomes/rejected", "skipped"];
        assert_eq!(count("read"), ends.into_iter().map(count).sum::<u64>(), "{about}: {}", followed.stdout);
        if let Some(records) = self.source.records()
            && matches!(&self.into, Into::Rows(_, Shape::Document))
        {
            assert_eq!(count("read") - count("skipped"), records, "{about}: {}", followed.stdout);
        }
        let verified = self.verify().run();
        assert_eq!(verified.code(), Some(0), "{about}: {}\n{}", verified.stdout, verified.stderr);
        assert_eq!(verified.report["status"], "clean", "{about}: {}", verified.report);
    }
}
