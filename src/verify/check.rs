//! Whether a certificate still stands: the cheapest looks only, no row is read.

use super::certificate::{self, place};
use crate::checkpoint::certificates;
use crate::driver::session::Session;
use crate::error::Result;
use crate::sink::destination::Destination;
use std::fmt;
use std::time::Duration;

/// What the certificate should speak of.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The source's identity.
    pub source: &'a str,
    /// The mapping's identity.
    pub mapping: &'a str,
    /// The target.
    pub target: &'a Destination,
    /// How old it may be.
    pub max_age: Duration,
}

/// Why a certificate does not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Its fingerprint is not that of what it says, or of what was registered.
    Altered,
    /// The target does not know it.
    Unregistered,
    /// It is older than it may be.
    Stale {
        /// Its age in seconds.
        age: u64,
        /// What it may be.
        most: u64,
    },
    /// Differences remained.
    NotClean(u64),
    /// It speaks of another source.
    OtherSource,
    /// It speaks of another mapping.
    OtherMapping,
    /// It speaks of another target.
    OtherTarget(String),
    /// A table is not the one it was.
    OtherTable(String),
    /// A table is gone.
    TableGone(String),
}

/// What a certificate is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Why it does not stand; empty when it does.
    pub findings: Vec<Finding>,
    /// How much was compared: full, digest or counts.
    pub level: String,
    /// The share of the source that was read; none for all of it.
    pub sample: Option<String>,
    /// Seconds since it was issued, by the target's clock.
    pub age: u64,
}

impl Standing {
    /// Whether it stands.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Says what the certificate in `text`, called `name`, is worth; `session` is one to the target, or
/// to the state of a DynamoDB one: where certificates are registered.
///
/// # Errors
/// `Config` when it is no certificate; of the database.
pub async fn check(text: &str, name: &str, expected: &Expected<'_>, session: &mut Session) -> Result<Standing> {
    let read = certificate::read(text, name)?;
    let certificate = read.certificate;
    let fault = |fault: crate::driver::fault::Fault| fault.into_error("looking at what the certificate speaks of");
    let mut findings = Vec::new();
    let registered = certificates::find(session, &certificate.id).await.map_err(fault)?;
    let is_altered = match &registered {
        Some(registered) => registered.fingerprint != read.fingerprint,
        None => false,
    };
    if read.claimed != read.fingerprint || is_altered {
        findings.push(Finding::Altered);
    }
    if registered.is_none() {
        findings.push(Finding::Unregistered);
    }
    let now = certificates::now(session).await.map_err(fault)?;
    let age = u64::try_from((now - certificate.ended_us) / 1_000_000).unwrap_or(0);
    if age > expected.max_age.as_secs() {
        findings.push(Finding::Stale { age, most: expected.max_age.as_secs() });
    }
    if certificate.differences > 0 {
        findings.push(Finding::NotClean(certificate.differences));
    }
    if certificate.source != expected.source {
        findings.push(Finding::OtherSource);
    }
    if certificate.mapping != expected.mapping {
        findings.push(Finding::OtherMapping);
    }
    if certificate.target != place(expected.target) {
        findings.push(Finding::OtherTarget(certificate.target.clone()));
    }
    for table in &certificate.tables {
        match expected.target.identity(session, &table.table).await? {
            None => findings.push(Finding::TableGone(table.table.clone())),
            Some(identity) if identity != table.identity => findings.push(Finding::OtherTable(table.table.clone())),
            Some(_) => {}
        }
    }
    Ok(Standing { findings, level: certificate.level, sample: certificate.sample, age })
}

/// In plain words.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Altered => f.write_str("altered: it is not what was issued"),
            Finding::Unregistered => {
                f.write_str("unregistered: the target does not know it, so whether it was altered cannot be told")
            }
            Finding::Stale { age, most } => {
                write!(f, "stale: it is {} old, {} is allowed (--max-age)", hours(*age), hours(*most))
            }
            Finding::NotClean(differences) => write!(f, "not clean: {differences} differences remained"),
            Finding::OtherSource => f.write_str("of another source"),
            Finding::OtherMapping => f.write_str("of another key or mapping"),
            Finding::OtherTarget(target) => write!(f, "of another target: {target}"),
            Finding::OtherTable(table) => {
                write!(f, "of another table: {table} was altered, truncated or made anew since")
            }
            Finding::TableGone(table) => write!(f, "of a table that is gone: {table}"),
        }
    }
}

fn hours(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
