//! Looking at a run's rejects and answering for them: counts, summaries without an item's value, sign-offs by name and with
//! the database's time.

use super::ledger::number;
use super::run::{Checkpoint, big, broken, int, text};
use super::schema;
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session, Statement};
use crate::error::{Error, Result};
use crate::model::page::UnitId;
use crate::model::reject::{REFUSED_BY_SERVER, RejectStates};
use crate::model::rows::CellRef;
use serde::Serialize;
use std::collections::BTreeMap;

/// Rejects looked at by one query.
const ROWS_PER_FETCH: usize = 10_000;

/// Examples of each kind of reject.
const EXAMPLES: usize = 3;

/// Rejects of a run that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// The target table's name.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// What is wrong, without what may quote a value.
    pub reason: String,
    /// Who answers for them; none for those that are open.
    pub signed_by: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// How many.
    pub rejects: u64,
    /// Where some of them are: the data file or segment, and the line in it, from 1.
    pub examples: Vec<(String, u64)>,
}

/// Which rejects are meant; all of them when nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of this table.
    pub table: Option<String>,
    /// Those of this column.
    pub column: Option<String>,
    /// Those whose reason holds this text.
    pub reason: Option<String>,
}

impl Checkpoint {
    /// What has become of the run's rejects.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reject_states(&self) -> Result<RejectStates> {
        const SQL: &str = "SELECT outcome, CASE WHEN signed_by IS NULL THEN 0 ELSE 1 END AS signed, COUNT(*) \
                           FROM _transvase_rejects WHERE run = ? AND part = 0 \
                           GROUP BY outcome, CASE WHEN signed_by IS NULL THEN 0 ELSE 1 END";
        self.retrying("counting the rejects", &self.run, |session, run| {
            Box::pin(async move {
                let mut states = RejectStates::default();
                for row in session.fetch(SQL, &[text(run)]).await? {
                    let count = number(&row[2])?;
                    match (row[0].text().as_deref(), row[1].int()) {
                        (Some("written"), _) => states.written += count,
                        (Some("present"), _) => states.present += count,
                        (Some("tombstoned"), _) => states.tombstoned += count,
                        (Some("skipped"), _) => states.skipped += count,
                        (Some(_), _) => return Err(broken("the outcome of a reject")),
                        (None, Some(1)) => states.signed_off += count,
                        (None, _) => states.open += count,
                    }
                }
                Ok(states)
            })
        })
        .await
    }

    /// The names of the run's units.
    ///
    /// # Errors
    /// Of the database.
    pub async fn unit_names(&self) -> Result<BTreeMap<UnitId, String>> {
        const SQL: &str = "SELECT unit, name FROM _transvase_units WHERE run = ?";
        self.retrying("reading the units", &self.run, |session, run| {
            Box::pin(async move {
                let rows = session.fetch(SQL, &[text(run)]).await?;
                let named = |row: &Vec<Fetched>| Ok((unit(&row[0])?, row[1].text().unwrap_or_default()));
                rows.iter().map(named).collect()
            })
        })
        .await
    }

    /// The rejects that are not settled, by kind, the most frequent first. Holds one of each kind in memory, and reasons do
    /// not tell values, so there are few.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reject_kinds(&self) -> Result<Vec<Kind>> {
        let names = self.unit_names().await?;
        let mut kinds: BTreeMap<[Option<String>; 5], Tally> = BTreeMap::new();
        let mut after = None;
        loop {
            let rows = self.unsettled(after).await?;
            let Some(last) = rows.last() else { break };
            after = Some((last.unit, last.position));
            for row in rows {
                let Unsettled { unit, position, table, column, reason, signed_by, why } = row;
                let kind = kinds.entry([table, column, Some(gist(&reason)), signed_by, why]).or_default();
                kind.rejects += 1;
                if kind.examples.len() < EXAMPLES {
                    kind.examples.push((names.get(&unit).cloned().unwrap_or_default(), position + 1));
                }
            }
        }
        let mut kinds: Vec<Kind> = kinds
            .into_iter()
            .map(|([table, column, reason, signed_by, why], Tally { rejects, examples })| Kind {
                table,
                column,
                reason: reason.unwrap_or_default(),
                signed_by,
                why,
                rejects,
                examples,
            })
            .collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.rejects));
        Ok(kinds)
    }

    async fn unsettled(&self, after: Option<(UnitId, u64)>) -> Result<Vec<Unsettled>> {
        let sql = format!(
            "SELECT unit, position, target, field, reason, signed_by, signed_why FROM _transvase_rejects \
             WHERE run = ? AND part = 0 AND outcome IS NULL AND (unit > ? OR (unit = ? AND position > ?)) \
             ORDER BY unit, position LIMIT {ROWS_PER_FETCH}"
        );
        let [at, position] = after.map_or([CellRef::Int(-1); 2], |(unit, position)| [int(unit), big(position)]);
        let context = (sql.as_str(), [text(&self.run), at, at, position]);
        self.retrying("reading the rejects", &context, |session, (sql, cells)| {
            Box::pin(async move { session.fetch(sql, cells).await?.iter().map(|row| unsettled(row)).collect() })
        })
        .await
    }

    /// Has `by` answer for the open rejects that `filter` means, for the reason `why`; or, without `by`, takes sign-offs back.
    /// Returns how many they are.
    ///
    /// # Errors
    /// Of the database; `Config` for a name that is too long.
    pub async fn sign_off(&self, filter: &Filter, by: Option<(&str, &str)>) -> Result<u64> {
        if by.is_some_and(|(name, _)| name.is_empty() || name.len() > schema::MAX_NAME) {
            return Err(Error::config(format!("--by: give a name of 1 to {} bytes", schema::MAX_NAME)));
        }
        let context = (self.run.as_str(), filter, by);
        self.retrying("signing rejects off", &context, |session, (run, filter, by)| {
            Box::pin(async move {
                session.begin().await?;
                let signed = sign_once(session, run, filter, *by).await?;
                session.commit().await?;
                Ok(signed)
            })
        })
        .await
    }
}

async fn sign_once(session: &mut Session, run: &str, filter: &Filter, by: Option<(&str, &str)>) -> FaultResult<u64> {
    let state = if by.is_some() { "signed_by IS NULL" } else { "signed_by IS NOT NULL" };
    let (mut condition, mut cells) = (format!("run = ? AND outcome IS NULL AND {state}"), vec![text(run)]);
    let asked =
        [("target = ?", &filter.table), ("field = ?", &filter.column), ("INSTR(reason, ?) > 0", &filter.reason)];
    for (test, value) in asked {
        if let Some(value) = value {
            condition.push_str(&format!(" AND {test}"));
            cells.push(text(value));
        }
    }
    let lock = schema::for_update(session.dialect());
    // Counted by their first parts, under locks, since the update counts every part.
    let sql = format!("SELECT unit FROM _transvase_rejects WHERE {condition} AND part = 0{lock}");
    let count = session.fetch(&sql, &cells).await?.len() as u64;
    let now = schema::now_us(session.dialect());
    let set = match by {
        Some(_) => format!("signed_by = ?, signed_why = ?, signed_us = {now}"),
        None => "signed_by = NULL, signed_why = NULL, signed_us = NULL".to_owned(),
    };
    let names = by.into_iter().flat_map(|(name, why)| [text(name), text(why)]);
    let update = Statement::new(format!("UPDATE _transvase_rejects SET {set} WHERE {condition}"));
    session.execute(&update, names.chain(cells)).await?;
    Ok(count)
}

/// How many are alike, and where some of them are.
#[derive(Default)]
struct Tally {
    rejects: u64,
    examples: Vec<(String, u64)>,
}

/// A reject without its item.
struct Unsettled {
    unit: UnitId,
    position: u64,
    table: Option<String>,
    column: Option<String>,
    reason: String,
    signed_by: Option<String>,
    why: Option<String>,
}

fn unsettled(row: &[Fetched]) -> FaultResult<Unsettled> {
    Ok(Unsettled {
        unit: unit(&row[0])?,
        position: number(&row[1])?,
        table: row[2].text(),
        column: row[3].text(),
        reason: row[4].text().unwrap_or_default(),
        signed_by: row[5].text(),
        why: row[6].text(),
    })
}

fn unit(value: &Fetched) -> FaultResult<UnitId> {
    u32::try_from(number(value)?).map_err(|_| broken("a unit"))
}

/// The reason without what may quote a value (the server's words) and without figures that differ from item to item (the
/// size of a row).
fn gist(reason: &str) -> String {
    if let Some(words) = reason.strip_prefix(REFUSED_BY_SERVER) {
        let code = words.split_once(':').map_or("", |(code, _)| code);
        return format!("{REFUSED_BY_SERVER}{code}");
    }
    match reason.strip_prefix("a row of ").and_then(|rest| rest.split_once(" bytes ")) {
        Some((_, rest)) => format!("a row of … bytes {rest}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::gist;

    #[test]
    fn a_gist_quotes_no_value_and_is_the_same_for_alike_rejects() {
        let refused = "the server refused the row: error 1366: Incorrect string value: 'secret' for column 'x'";
        assert_eq!(gist(refused), "the server refused the row: error 1366");
        let large = "a row of 123456 bytes exceeds the server's max_allowed_packet of 65536";
        assert_eq!(gist(large), "a row of … bytes exceeds the server's max_allowed_packet of 65536");
        let plain = "attribute total for a column of type decimal(5,2): the value is out of range";
        assert_eq!(gist(plain), plain);
    }
}
