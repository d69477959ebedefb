//! What an operator forces beside a step: each a transition of the version with its row of history, in one transaction.

use super::history::{Audit, remember, was_made};
use super::transition::{Next, set};
use super::{Phase, Phases};
use crate::checkpoint::run::{big, text};
use crate::checkpoint::schema::now_us;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Session, Statement};
use crate::error::Result;
use crate::model::rows::CellRef;

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The fault of this number is cleared by who asks.
    ClearFault(u64),
    /// The instance of this name is no longer told of, if its lease is still the one that ends at this moment, in microseconds
    /// since 1970: it was not heard of since.
    SignOff(String, i64),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// It is done.
    Done,
    /// What it was about is not there, or not as it was: nothing has changed.
    NotThere,
    /// Somebody moved meanwhile: nothing has changed.
    Overtaken,
}

/// An instance's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its end, in microseconds since 1970 by the database's clock.
    pub until_us: i64,
    /// Whether that is to come.
    pub lives: bool,
}

impl Phases {
    /// The lease of a registered instance.
    ///
    /// # Errors
    /// Of the database.
    pub async fn lease_of(&self, writer: &str) -> Result<Option<Lease>> {
        self.base
            .retrying("reading a lease", &(self.migration(), writer), |session, (name, writer)| {
                Box::pin(async move {
                    let now = now_us(session.dialect());
                    let sql = format!(
                        "SELECT until_us, CASE WHEN until_us > {now} THEN 1 ELSE 0 END FROM _transvase_writers \
                         WHERE migration = ? AND writer = ?"
                    );
                    let rows = session.fetch(&sql, &[text(name), text(writer)]).await?;
                    let lease = |row: &Vec<crate::driver::session::Fetched>| Lease {
                        until_us: row[0].int().unwrap_or_default(),
                        lives: row[1].int() == Some(1),
                    };
                    Ok(rows.first().map(lease))
                })
            })
            .await
    }

    /// Does it, if nothing was moved since `from` was [loaded](Phases::load).
    ///
    /// # Errors
    /// Of the database.
    pub async fn force(&self, from: &Phase, act: &Act, audit: &Audit) -> Result<Forced> {
        let context = (self.migration(), from, act, audit);
        self.base
            .retrying("forcing", &context, |session, (name, from, act, audit)| {
                Box::pin(async move {
                    session.begin().await?;
                    let next = Next {
                        step: from.step,
                        barrier: None,
                        generation: from.generation,
                        within_barrier: false,
                        releases_lock: false,
                    };
                    if !set(session, name, from, next).await? {
                        session.rollback().await?;
                        let made = was_made(session, name, from.version + 1, audit).await?;
                        return Ok(if made { Forced::Done } else { Forced::Overtaken });
                    }
                    if !carry_out(session, name, act, audit).await? {
                        session.rollback().await?;
                        return Ok(Forced::NotThere);
                    }
                    remember(session, name, (from.version + 1, from.step, from.step), audit).await?;
                    session.commit().await?;
                    Ok(Forced::Done)
                })
            })
            .await
    }
}

/// Whether there was something to do it to.
async fn carry_out(session: &mut Session, migration: &str, act: &Act, audit: &Audit) -> FaultResult<bool> {
    let now = now_us(session.dialect());
    let touched = match act {
        Act::ClearFault(fault) => {
            let by = format!("{}: {}", audit.who, audit.why.as_deref().unwrap_or_default());
            let sql = format!(
                "UPDATE _transvase_faults SET cleared_us = {now}, cleared_by = ? \
                 WHERE migration = ? AND fault = ? AND cleared_us IS NULL"
            );
            let cells = [text(&by), text(migration), big(*fault)];
            session.execute(&Statement::new(sql), cells.into_iter()).await?
        }
        Act::SignOff(writer, until_us) => {
            const SQL: &str = "DELETE FROM _transvase_writers WHERE migration = ? AND writer = ? AND until_us = ?";
            let cells = [text(migration), text(writer), CellRef::Int(*until_us)];
            session.execute(&Statement::new(SQL.to_owned()), cells.into_iter()).await?
        }
    };
    Ok(touched.affected == 1)
}
