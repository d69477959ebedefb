//! What was done to a migration: a row for each transition, in the transaction that makes it.

use super::{Phases, step};
use crate::checkpoint::ledger::number;
use crate::checkpoint::run::{big, broken, int, text};
use crate::checkpoint::schema::now_us;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::rows::CellRef;
use serde::Serialize;

/// What history tells of a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Who asked for it.
    pub who: String,
    /// What kind of transition it is.
    pub what: String,
    /// Why, as was typed.
    pub why: Option<String>,
    /// What it was decided by, as JSON.
    pub evidence: String,
    /// Tells this attempt from another's of the same: whoever does not know whether his was made, looks for it.
    pub attempt: u64,
}

impl Audit {
    /// Of an attempt that nobody has made yet.
    #[must_use]
    pub fn new(who: &str, what: &str, why: Option<&str>, evidence: &str) -> Audit {
        let attempt = rand::random::<u64>() >> 1;
        Audit {
            who: who.to_owned(),
            what: what.to_owned(),
            why: why.map(str::to_owned),
            evidence: evidence.to_owned(),
            attempt,
        }
    }
}

/// A transition that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Past {
    /// The version that it led to.
    pub version: u64,
    /// When, in microseconds since 1970 by the database's clock.
    pub at_us: i64,
    /// From this step.
    pub from: u8,
    /// To this one; with a barrier, the step that it leads to.
    pub to: u8,
    /// The rest.
    #[serde(flatten)]
    pub audit: Audit,
}

impl Phases {
    /// All transitions, the oldest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn history(&self) -> Result<Vec<Past>> {
        const SQL: &str = "SELECT version, at_us, step_from, step_to, who, what, why, evidence, attempt \
                           FROM _transvase_phase_history WHERE migration = ? ORDER BY version";
        self.base
            .retrying("reading the history", self.migration(), |session, name| {
                Box::pin(async move { session.fetch(SQL, &[text(name)]).await?.iter().map(|row| past(row)).collect() })
            })
            .await
    }
}

/// Whether this very transition was made by an earlier attempt.
pub(super) async fn was_made(session: &mut Session, migration: &str, version: u64, audit: &Audit) -> FaultResult<bool> {
    const SQL: &str = "SELECT attempt FROM _transvase_phase_history WHERE migration = ? AND version = ?";
    let rows = session.fetch(SQL, &[text(migration), big(version)]).await?;
    Ok(rows.first().map(|row| number(&row[0])).transpose()? == Some(audit.attempt))
}

pub(super) async fn remember(
    session: &mut Session,
    migration: &str,
    (version, from, to): (u64, u8, u8),
    audit: &Audit,
) -> FaultResult<()> {
    let sql = Statement::new(format!(
        "INSERT INTO _transvase_phase_history (migration, version, at_us, step_from, step_to, who, what, why, evidence, attempt) \
         VALUES (?, ?, {}, ?, ?, ?, ?, ?, ?, ?)",
        now_us(session.dialect())
    ));
    let cells = [
        text(migration),
        big(version),
        int(u32::from(from)),
        int(u32::from(to)),
        text(&audit.who),
        text(&audit.what),
        audit.why.as_deref().map_or(CellRef::Null, text),
        text(&audit.evidence),
        big(audit.attempt),
    ];
    session.execute(&sql, cells.into_iter()).await.map(drop)
}

fn past(row: &[Fetched]) -> FaultResult<Past> {
    let said = |cell: &Fetched| cell.text().unwrap_or_default();
    Ok(Past {
        version: number(&row[0])?,
        at_us: row[1].int().ok_or_else(|| broken("a time"))?,
        from: step(&row[2])?,
        to: step(&row[3])?,
        audit: Audit {
            who: said(&row[4]),
            what: said(&row[5]),
            why: row[6].text(),
            evidence: said(&row[7]),
            attempt: number(&row[8])?,
        },
    })
}
