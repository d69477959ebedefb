//! Claims: who may read which unit, for how long, and how a claim passes on.
//!
//! A claim is an epoch in the unit's fence row. Taking a unit changes the epoch, which waits for every transaction
//! that has proved the old one; afterwards none can. The lease only decides when taking is polite: a process that
//! outlived its lease is harmless, because its next transaction finds another epoch.

use super::ledger::{number, read_fence};
use super::owner::Owner;
use super::phases::{self, lock, replays};
use super::run::{Checkpoint, big, broken, int, text};
use super::schema;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::Result;
use crate::model::batch::Fence;
use crate::model::page::UnitId;
use std::time::Duration;

/// A unit taken by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The unit.
    pub unit: UnitId,
    /// The epoch every transaction must find.
    pub epoch: u64,
    /// The epoch before: found again, it says that the server lost the commit of this claim.
    pub before: u64,
}

impl Checkpoint {
    /// Takes the first open unit, in the run's shuffled order, that nobody living owns. `random` makes the epoch one
    /// that no other claim has.
    ///
    /// # Errors
    /// Of the database; `Refused` when another run has taken this one's name.
    pub async fn claim(&self, owner: &Owner, random: u32) -> Result<Option<Claim>> {
        let context = (self, owner, random);
        let claimed = self.retrying("claiming a unit", &context, |session, (checkpoint, owner, random)| {
            Box::pin(async move {
                session.begin().await?;
                let claimed = claim_once(session, checkpoint, owner, *random).await?;
                session.commit().await?;
                Ok(claimed)
            })
        });
        match claimed.await? {
            Claimed::Unit(claim) => Ok(Some(claim)),
            Claimed::Nothing => Ok(None),
            Claimed::AnotherRun => Err(self.begun_anew()),
            Claimed::Unlocked => Err(self.unlocked()),
            Claimed::Outdated => Err(self.outdated()),
        }
    }

    /// The open units that are `owner`'s by the database's account. One that the process does not know of was claimed by
    /// a commit whose answer was lost. Its earlier epoch is not known, so such a claim cannot be put back.
    ///
    /// # Errors
    /// Of the database.
    pub async fn owned(&self, owner: &Owner) -> Result<Vec<Claim>> {
        let within = self.within();
        let sql = format!(
            "SELECT u.unit, f.epoch FROM _transvase_units u JOIN _transvase_fences f \
             ON f.run = u.run AND f.unit = u.unit WHERE u.run = ? AND u.owner = ? AND u.state = 'open'{within}"
        );
        let context = (sql.as_str(), self.run.as_str(), owner);
        self.retrying("reading the claims", &context, |session, (sql, run, owner)| {
            Box::pin(async move {
                let rows = session.fetch(sql, &[text(run), text(owner.name())]).await?;
                let claim = |row: &Vec<Fetched>| {
                    let (unit, epoch) = (number(&row[0])?, number(&row[1])?);
                    Ok(Claim { unit: u32::try_from(unit).map_err(|_| broken("a unit"))?, epoch, before: epoch })
                };
                rows.iter().map(claim).collect()
            })
        })
        .await
    }

    /// How many units are not done.
    ///
    /// # Errors
    /// Of the database.
    pub async fn open_units(&self) -> Result<u64> {
        let within = self.within();
        let sql = format!("SELECT COUNT(*) FROM _transvase_units u WHERE run = ? AND state = 'open'{within}");
        self.retrying("counting open units", &(sql.as_str(), self.run.as_str()), |session, (sql, run)| {
            Box::pin(async move {
                let rows = session.fetch(sql, &[text(run)]).await?;
                number(&rows.first().ok_or_else(|| broken("a count"))?[0])
            })
        })
        .await
    }

    /// How many living processes beside `owner` work on the run, as far as the database knows.
    ///
    /// # Errors
    /// Of the database.
    pub async fn others(&self, owner: &Owner) -> Result<u64> {
        self.retrying("reading the leases", &(self.run.as_str(), owner), |session, (run, owner)| {
            Box::pin(async move {
                session.begin().await?;
                void_dead_leases(session, run).await?;
                session.commit().await?;
                let now = schema::now_us(session.dialect());
                let sql =
                    format!("SELECT COUNT(*) FROM _transvase_leases WHERE run = ? AND owner <> ? AND until_us > {now}");
                let rows = session.fetch(&sql, &[text(run), text(owner.name())]).await?;
                number(&rows.first().ok_or_else(|| broken("a count"))?[0])
            })
        })
        .await
    }

    /// The condition that a unit `u` is one of those this checkpoint is about.
    fn within(&self) -> String {
        if self.units == (0..UnitId::MAX) {
            return String::new();
        }
        format!(" AND u.unit >= {} AND u.unit < {}", self.units.start, self.units.end)
    }

    /// Puts a lost claim back: the server had acknowledged it and forgot it in a crash. False when somebody else has
    /// taken the unit since.
    ///
    /// # Errors
    /// Of the database.
    pub async fn restore_claim(&self, owner: &Owner, claim: Claim) -> Result<bool> {
        self.retrying("restoring a claim", &(self.run.as_str(), owner, claim), |session, (run, owner, claim)| {
            Box::pin(async move {
                session.begin().await?;
                let restored = restore_once(session, run, owner, *claim).await?;
                session.commit().await?;
                Ok(restored)
            })
        })
        .await
    }

    /// Gives up every claim of `owner`, and its lease, so that a restart need not wait.
    ///
    /// # Errors
    /// Of the database.
    pub async fn release(&self, owner: &Owner) -> Result<()> {
        const STATEMENTS: [&str; 2] = [
            "UPDATE _transvase_units SET owner = NULL WHERE run = ? AND owner = ?",
            "DELETE FROM _transvase_leases WHERE run = ? AND owner = ?",
        ];
        self.retrying("releasing the claims", &(self.run.as_str(), owner), |session, (run, owner)| {
            Box::pin(async move {
                session.begin().await?;
                for statement in STATEMENTS {
                    let statement = Statement::new(statement.to_owned());
                    session.execute(&statement, [text(run), text(owner.name())].into_iter()).await?;
                }
                session.commit().await
            })
        })
        .await
    }

    /// Extends the lease of `owner`, by the database's clock. Leases of processes that are certainly dead are voided. How
    /// many processes work on the run, this one included.
    ///
    /// # Errors
    /// Of the database.
    pub async fn heartbeat(&self, owner: &Owner, lease: Duration) -> Result<u64> {
        let micros = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        let context = (self, owner, micros);
        self.retrying("extending the lease", &context, |session, (checkpoint, owner, micros)| {
            Box::pin(async move {
                let run = checkpoint.run.as_str();
                session.begin().await?;
                void_dead_leases(session, run).await?;
                extend_lease(session, run, owner, *micros).await?;
                if let Some((migration, epoch)) = checkpoint.lock.as_deref() {
                    lock::extend(session, migration, *epoch, *micros).await?;
                }
                let living = living(session, run).await?;
                session.commit().await?;
                Ok(living)
            })
        })
        .await
    }
}

async fn void_dead_leases(session: &mut Session, run: &str) -> FaultResult<()> {
    let delete = Statement::new("DELETE FROM _transvase_leases WHERE owner = ?".to_owned());
    for row in session.fetch("SELECT owner FROM _transvase_leases WHERE run = ?", &[text(run)]).await? {
        let name = row[0].text().unwrap_or_default();
        if Owner::is_dead_here(&name) {
            session.execute(&delete, [text(&name)].into_iter()).await?;
        }
    }
    Ok(())
}

async fn extend_lease(session: &mut Session, run: &str, owner: &Owner, micros: u64) -> FaultResult<()> {
    let until = format!("{} + {micros}", schema::now_us(session.dialect()));
    let update = Statement::new(format!("UPDATE _transvase_leases SET until_us = {until} WHERE owner = ?"));
    if session.execute(&update, [text(owner.name())].into_iter()).await?.affected == 0 {
        let sql = format!("INSERT INTO _transvase_leases (owner, run, until_us) VALUES (?, ?, {until})");
        session.execute(&Statement::new(sql), [text(owner.name()), text(run)].into_iter()).await?;
    }
    Ok(())
}

/// How many leases of the run have not run out.
async fn living(session: &mut Session, run: &str) -> FaultResult<u64> {
    let now = schema::now_us(session.dialect());
    let sql = format!("SELECT COUNT(*) FROM _transvase_leases WHERE run = ? AND until_us > {now}");
    let rows = session.fetch(&sql, &[text(run)]).await?;
    number(&rows.first().ok_or_else(|| broken("a count"))?[0])
}

async fn restore_once(session: &mut Session, run: &str, owner: &Owner, claim: Claim) -> FaultResult<bool> {
    let sql = "UPDATE _transvase_fences SET epoch = ? WHERE run = ? AND unit = ? AND epoch = ?";
    let cells = [big(claim.epoch), text(run), int(claim.unit), big(claim.before)];
    let mut restored = session.execute(&Statement::new(sql.to_owned()), cells.into_iter()).await?.affected == 1;
    if !restored {
        // Perhaps an earlier attempt has committed, and only its answer was lost.
        let fence = Fence { unit: claim.unit, epoch: claim.epoch };
        restored = read_fence(session, run, fence).await? == Some(claim.epoch);
    }
    if restored {
        let sql = "UPDATE _transvase_units SET owner = ? WHERE run = ? AND unit = ?";
        let cells = [text(owner.name()), text(run), int(claim.unit)];
        session.execute(&Statement::new(sql.to_owned()), cells.into_iter()).await?;
    }
    Ok(restored)
}

/// What came of trying to claim.
enum Claimed {
    Unit(Claim),
    Nothing,
    /// The units are another run's, which was begun anew under the same name.
    AnotherRun,
    /// The backfill lock is another's.
    Unlocked,
    /// What would be applied is older than what the target has.
    Outdated,
}

async fn claim_once(
    session: &mut Session,
    checkpoint: &Checkpoint,
    owner: &Owner,
    random: u32,
) -> FaultResult<Claimed> {
    let run = checkpoint.run.as_str();
    if let Some((migration, epoch)) = checkpoint.lock.as_deref() {
        // the step before the lock, as a transition has it
        let phase = phases::prove(session, migration).await?;
        if !phase.is_some_and(|phase| phase.may_be_copied()) || !lock::prove(session, migration, *epoch).await? {
            return Ok(Claimed::Unlocked);
        }
    }
    if let Some(migration) = checkpoint.replays.as_deref()
        && !replays::may_replay(session, migration).await?
    {
        return Ok(Claimed::Outdated);
    }
    let (now, skip) = (schema::now_us(session.dialect()), schema::skip_locked(session.dialect()));
    // COUNT rather than NOT EXISTS: the latter may be run as a join that locks every unit [measured on MySQL].
    // A unit of our own is never free: our lease runs out when the target takes no writes for a while, and whoever took
    // his own unit anew would fence off his own pages.
    let sql = format!(
        "SELECT unit FROM _transvase_units u WHERE run = ? AND state = 'open' AND (owner IS NULL OR (owner <> ? AND \
         (SELECT COUNT(*) FROM _transvase_leases l WHERE l.owner = u.owner AND l.until_us > {now}) = 0)){within} \
         ORDER BY place LIMIT 1{skip}",
        within = checkpoint.within()
    );
    let rows = session.fetch(&sql, &[text(run), text(owner.name())]).await?;
    let Some(row) = rows.first() else { return Ok(Claimed::Nothing) };
    let unit = u32::try_from(number(&row[0])?).map_err(|_| broken("a unit"))?;
    // The subquery above saw the leases as they were when its statement began; an owner who came since is seen by a
    // new statement, under the unit's row lock [measured: 1 claim in 60 was of a living owner's unit].
    let sql = format!(
        "SELECT COUNT(*) FROM _transvase_units u JOIN _transvase_leases l ON l.owner = u.owner \
         WHERE u.run = ? AND u.unit = ? AND l.until_us > {now}"
    );
    let owned = session.fetch(&sql, &[text(run), int(unit)]).await?;
    if owned.first().is_some_and(|row| row[0].int() != Some(0)) {
        return Ok(Claimed::Nothing);
    }
    let sql = "SELECT incarnation FROM _transvase_runs WHERE run = ?";
    let found = session.fetch(sql, &[text(run)]).await?;
    if found.first().map(|row| number(&row[0])).transpose()? != Some(checkpoint.incarnation) {
        return Ok(Claimed::AnotherRun);
    }
    let sql = format!(
        "SELECT epoch FROM _transvase_fences WHERE run = ? AND unit = ?{}",
        schema::for_update(session.dialect())
    );
    let rows = session.fetch(&sql, &[text(run), int(unit)]).await?;
    let before = number(&rows.first().ok_or_else(|| broken("a fence"))?[0])?;
    let epoch = before + 1 + u64::from(random);
    let fence = Statement::new("UPDATE _transvase_fences SET epoch = ? WHERE run = ? AND unit = ?".to_owned());
    session.execute(&fence, [big(epoch), text(run), int(unit)].into_iter()).await?;
    let own = Statement::new("UPDATE _transvase_units SET owner = ? WHERE run = ? AND unit = ?".to_owned());
    session.execute(&own, [text(owner.name()), text(run), int(unit)].into_iter()).await?;
    Ok(Claimed::Unit(Claim { unit, epoch, before }))
}
