//! `transvase verify` as its users call it, in a folder of its own.

use crate::support::transvase::Target;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a verification ended.
#[derive(Debug)]
pub(super) struct Verified {
    /// The exit code; none when it was killed.
    pub(super) code: Option<i32>,
    pub(super) said: String,
    pub(super) report: Value,
}

impl Verified {
    #[track_caller]
    pub(super) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self
    }

    #[track_caller]
    pub(super) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.said.contains(part), "nothing is said of {part:?} in:\n{}", self.said);
        }
    }

    /// How many candidates ended so.
    #[track_caller]
    pub(super) fn verdict(&self, name: &str) -> u64 {
        self.report["verdicts"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {}\n{}", self.report, self.said))
    }
}

/// Runs it to its end.
pub(super) fn verify(folder: &Path, from: &str, target: &Target, args: &[&str], env: &[(&str, &str)]) -> Verified {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
    command.current_dir(folder).env_remove("MYSQL_PWD").stdin(Stdio::null());
    command.args(["verify", "--report", "verify.json", "--state", "sqlite:verify.db", "--from", from]);
    command.args(["--to", &target.url()]).args(args).envs(env.iter().copied());
    if let Target::Server(database) = target {
        command.env("MYSQL_PWD", database.password()).arg("--tls-ca").arg(&database.ca_file);
    }
    drop(std::fs::remove_file(folder.join("verify.json")));
    let output = command.output().unwrap();
    let report = std::fs::read_to_string(folder.join("verify.json")).unwrap_or_default();
    Verified {
        code: output.status.code(),
        said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        report: serde_json::from_str(&report).unwrap_or_default(),
    }
}

/// The lines of a list of differences.
pub(super) fn listed(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
