//! The engine as its users run it: a child process, its exit code, what it printed, and its report.
//!
//! Promises: no child outlives its [`Running`]. Knows the command line and nothing else of the engine.

use super::servers::signal;
use serde_json::Value;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A command being put together, with a folder of its own to run in.
pub(crate) struct Engine {
    command: Command,
    folder: TempDir,
    report: PathBuf,
}

/// A running engine.
pub(crate) struct Running {
    child: Child,
    folder: TempDir,
    report: PathBuf,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The JSON report; null when none was written.
    pub(crate) report: Value,
}

impl Engine {
    /// `transvase ARGUMENTS`, with no environment variable of ours set.
    pub(crate) fn new(arguments: &[&str]) -> Engine {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRANSVASE_") || name == "MYSQL_PWD") {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        Engine { command, folder, report }
    }

    /// Where the report goes.
    pub(crate) fn report(mut self) -> Engine {
        let path = self.report.clone();
        self.command.arg("--report").arg(path);
        self
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Engine {
        self.command.args(arguments);
        self
    }

    /// In a folder that outlives it.
    pub(crate) fn within(mut self, folder: &std::path::Path) -> Engine {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Engine {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Engine {
        self.command.env_remove(name);
        self
    }

    /// Starts it.
    pub(crate) fn spawn(mut self) -> Running {
        let file = |name: &str| File::create(self.folder.path().join(name)).unwrap();
        self.command.stdout(file("stdout")).stderr(file("stderr"));
        Running { child: self.command.spawn().unwrap(), folder: self.folder, report: self.report }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Outcome {
        self.spawn().wait(Duration::from_secs(300))
    }
}

impl Running {
    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// What it has said on standard error so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Waits until it has said `text`, or has ended.
    pub(crate) fn wait_to_say(&mut self, text: &str) {
        while !self.said().contains(text) && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until it sleeps (SIGSTOP), or has ended.
    pub(crate) fn wait_to_sleep(&mut self) {
        while !is_asleep(self.child.id()) && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(mut self) -> Outcome {
        drop(self.child.kill());
        self.wait(Duration::from_secs(60))
    }

    /// Its end; a failure when that takes longer than `limit`.
    pub(crate) fn wait(mut self, limit: Duration) -> Outcome {
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if began.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
                None => panic!("the engine does not end within {limit:?}; it said:\n{}", self.said()),
            }
        };
        let text = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        let report = std::fs::read(&self.report).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
        Outcome { status, stdout: text("stdout"), stderr: text("stderr"), report }
    }
}

/// Whether a process sleeps (SIGSTOP), every thread of it. A thread that is not on a processor when the signal comes stops
/// only when it gets there.
pub(crate) fn is_asleep(process: u32) -> bool {
    let sleeps = |task: PathBuf| std::fs::read_to_string(task.join("stat")).is_ok_and(|stat| stat.contains(") T "));
    let mut tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    tasks.all(|task| sleeps(task.unwrap().path()))
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Outcome {
    /// The exit code; none when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails with all that was printed unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Outcome {
        assert_eq!(self.code(), Some(code), "{:?}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// A number of the report.
    #[track_caller]
    pub(crate) fn number(&self, pointer: &str) -> u64 {
        let value = self.report.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("no number {pointer} in the report {}\n{}", self.report, self.stderr))
    }
}
