//! The target tables before the first row: created where asked, refused where they would lose data, and remembered by
//! what changes when they are recreated.

use super::tombstones::Tombstones;
use crate::checkpoint::run::TargetTable;
use crate::driver::fault::{Fault, FaultKind, FaultResult};
use crate::driver::session::{Fetched, Session};
use crate::error::{Error, Result};
use crate::mapping::Table;
use crate::mapping::ddl::{add_indexes, create_table, quote};
use crate::mapping::fit::{self, Finding, FoundColumn, FoundTable, KeyPart, Severity};
use crate::model::counts::{Canary, KeyCell};
use crate::model::dialect::Dialect;
use crate::model::hex;
use crate::model::rows::CellRef;
use sha2::{Digest, Sha256};

/// How a counting column is marked in [`FoundColumn::column_type`].
const AUTO_INCREMENT: &str = "auto_increment";

/// The target tables as they are now.
#[derive(Debug)]
pub struct Inspected {
    /// By table of the mapping.
    pub tables: Vec<TargetTable>,
    /// What an operator should know, and may accept.
    pub warnings: Vec<String>,
}

/// The server's version, as it tells.
///
/// # Errors
/// Of the database.
pub async fn server_version(session: &mut Session) -> Result<String> {
    let sql = match session.dialect() {
        Dialect::Sqlite => "SELECT 'SQLite ' || sqlite_version()",
        Dialect::MySql | Dialect::MariaDb => "SELECT CONCAT(VERSION(), ' ', @@version_comment)",
    };
    let rows = session.fetch(sql, &[]).await.map_err(|fault| fault.into_error("asking the server's version"))?;
    Ok(rows.first().and_then(|row| row[0].text()).unwrap_or_default())
}

/// What the server keeps of its tables in memory, in bytes; for ever of a database that leaves that to the system.
///
/// # Errors
/// Of the server.
pub async fn buffer_pool_bytes(session: &mut Session) -> Result<u64> {
    if session.dialect() == Dialect::Sqlite {
        return Ok(u64::MAX);
    }
    let rows = session.fetch("SELECT @@innodb_buffer_pool_size", &[]).await;
    let rows = rows.map_err(|fault| fault.into_error("asking the size of the buffer pool"))?;
    let bytes = rows.first().and_then(|row| row[0].int()).and_then(|bytes| u64::try_from(bytes).ok());
    Ok(bytes.unwrap_or(u64::MAX))
}

/// What to do about a table that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// Refuse it.
    Nothing,
    /// Create it.
    Tables,
    /// Create it with its secondary indexes.
    TablesAndIndexes,
}

/// The names of a table's indexes.
///
/// # Errors
/// The server's fault.
pub async fn index_names(session: &mut Session, table: &str) -> FaultResult<Vec<String>> {
    let sql = match session.dialect() {
        Dialect::Sqlite => "SELECT name FROM pragma_index_list(?)",
        Dialect::MySql | Dialect::MariaDb => {
            "SELECT DISTINCT index_name FROM information_schema.statistics \
             WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    let rows = session.fetch(sql, &[CellRef::Text(table.as_bytes())]).await?;
    Ok(rows.iter().filter_map(|row| row[0].text()).collect())
}

/// Looks at every table; creates those that are missing as `create` says.
///
/// # Errors
/// `Config` naming every table and column that cannot take the rows as they are.
pub async fn inspect(session: &mut Session, tables: &[Table], create: Create) -> Result<Inspected> {
    let mut inspected = Inspected { tables: Vec::new(), warnings: Vec::new() };
    let mut refusals = Vec::new();
    for table in tables {
        let fault = |fault: crate::driver::fault::Fault| fault.into_error(&format!("inspecting table {}", table.name));
        let mut found = found_table(session, &table.name).await.map_err(fault)?;
        if found.is_none() && create != Create::Nothing {
            let sql = create_table(table, session.dialect());
            let created = session.run(&sql).await;
            found = found_table(session, &table.name).await.map_err(fault)?;
            // Another process of the same run may have created it in the meantime.
            if let (Err(why), None) = (created, &found) {
                return Err(why.into_error(&format!("creating table {}", table.name)));
            }
            let indexes =
                if create == Create::TablesAndIndexes { add_indexes(table, &[], session.dialect()) } else { vec![] };
            for statement in indexes {
                match session.run(&statement).await {
                    Err(why) if index_names(session, &table.name).await.map_err(fault)?.len() <= 1 => {
                        return Err(why.into_error(&format!("adding indexes to table {}", table.name)));
                    }
                    _ => {}
                }
            }
        }
        let Some(found) = found else {
            refusals.push(format!(
                "table {} is not there: --create-tables makes it, `transvase schema` shows how",
                table.name
            ));
            continue;
        };
        for finding in findings(table, &found, session.dialect()) {
            match finding.severity {
                Severity::Refuse => refusals.push(finding.message),
                Severity::Warn => inspected.warnings.push(finding.message),
            }
        }
        inspected.tables.push(TargetTable {
            name: table.name.clone(),
            identity: identity(session, &table.name, &found).await.map_err(fault)?,
            empty_at_start: is_empty(session, &table.name).await.map_err(fault)?,
        });
    }
    if refusals.is_empty() { Ok(inspected) } else { Err(Error::config(refusals.join("; "))) }
}

/// Whether this user may replace and delete rows of every table: tried on no row, since privileges come by many ways.
///
/// # Errors
/// `Config` naming the table and what the server says.
pub async fn check_changeable(session: &mut Session, tables: &[Table]) -> Result<()> {
    for table in tables {
        let name = quote(&table.name, session.dialect());
        // No row has it; and it is a key, which a server may ask for before it changes anything.
        let Some(key) = table.key.first().map(|column| quote(&table.columns[*column].name, session.dialect())) else {
            continue;
        };
        for sql in [
            format!("UPDATE {name} SET {key} = {key} WHERE {key} IS NULL"),
            format!("DELETE FROM {name} WHERE {key} IS NULL"),
        ] {
            match session.run(&sql).await {
                Err(fault) if fault.kind == FaultKind::Blocked => {
                    return Err(Error::config(format!(
                        "table {}: changes replace and delete rows, and the server does not let this user: {} (GRANT \
                         SELECT, INSERT, UPDATE, DELETE on it, then run the same command again)",
                        table.name, fault.message
                    )));
                }
                tried => tried.map_err(|fault| fault.into_error(&format!("looking at table {}", table.name)))?,
            }
        }
    }
    Ok(())
}

/// A target table as somebody finds it who only looks.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Its name.
    pub table: String,
    /// Whether it is there, and then whether it holds no row.
    pub empty: Option<bool>,
    /// What keeps it from taking the rows, or what to know of it.
    pub findings: Vec<Finding>,
}

/// Looks at every table, and changes nothing.
///
/// # Errors
/// Of the database.
pub async fn look(session: &mut Session, tables: &[Table]) -> FaultResult<Vec<Looked>> {
    let mut looked = Vec::new();
    for table in tables {
        let found = found_table(session, &table.name).await?;
        let empty = if found.is_some() { Some(is_empty(session, &table.name).await?) } else { None };
        let findings = found.map(|found| findings(table, &found, session.dialect())).unwrap_or_default();
        looked.push(Looked { table: table.name.clone(), empty, findings });
    }
    Ok(looked)
}

/// What keeps a table from taking the rows, or what to know of it.
fn findings(table: &Table, found: &FoundTable, dialect: Dialect) -> Vec<Finding> {
    let mut findings = fit::check(table, found, dialect);
    if found.columns.iter().any(|column| column.column_type.contains(AUTO_INCREMENT)) {
        let message = format!(
            "table {}: an AUTO_INCREMENT column hides from the count which rows were there already",
            table.name
        );
        findings.insert(0, Finding { severity: Severity::Refuse, message });
    }
    findings
}

/// Which canaries' rows are no longer there, although nobody left a tombstone for them.
///
/// # Errors
/// Of the database.
pub async fn missing<'c>(session: &mut Session, tables: &[Table], canaries: &'c [Canary]) -> Result<Vec<&'c Canary>> {
    let mut missing = Vec::new();
    let tombstones = Tombstones::new(tables, session.dialect());
    for canary in canaries {
        let Some(table) = tables.get(canary.table) else { continue };
        let is_gone = async {
            let key: Vec<CellRef<'_>> = canary.key.iter().map(KeyCell::cell).collect();
            let is_there = !session.fetch(&select_key(table, session.dialect()), &key).await?.is_empty();
            Ok(!is_there && !tombstones.has(session, canary.table, &key).await?)
        };
        if is_gone.await.map_err(|fault: Fault| fault.into_error(&format!("looking into table {}", table.name)))? {
            missing.push(canary);
        }
    }
    Ok(missing)
}

/// Asks whether a key is in the table.
pub(super) fn select_key(table: &Table, dialect: Dialect) -> String {
    let keys: Vec<String> =
        table.key.iter().map(|column| format!("{} = ?", quote(&table.columns[*column].name, dialect))).collect();
    format!("SELECT 1 FROM {} WHERE {}", quote(&table.name, dialect), keys.join(" AND "))
}

/// Whether a table that is there has no row.
///
/// # Errors
/// The server's fault.
pub async fn is_empty(session: &mut Session, table: &str) -> FaultResult<bool> {
    let sql = format!("SELECT 1 FROM {} LIMIT 1", quote(table, session.dialect()));
    Ok(session.fetch(&sql, &[]).await?.is_empty())
}

/// The identity of a table, as [`inspect`] gives it; none when there is no such table.
///
/// # Errors
/// The server's fault.
pub async fn identity_of(session: &mut Session, table: &str) -> FaultResult<Option<String>> {
    match found_table(session, table).await? {
        Some(found) => identity(session, table, &found).await.map(Some),
        None => Ok(None),
    }
}

/// What differs once the table was dropped, truncated or altered: the definition, and what the server counts or dates.
async fn identity(session: &mut Session, table: &str, found: &FoundTable) -> FaultResult<String> {
    let made = match session.dialect() {
        Dialect::Sqlite => {
            let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
            first_text(&session.fetch(sql, &[CellRef::Text(table.as_bytes())]).await?)
        }
        Dialect::MySql | Dialect::MariaDb => {
            let sql = "SELECT CAST(UNIX_TIMESTAMP(create_time) AS CHAR) FROM information_schema.tables \
                       WHERE table_schema = DATABASE() AND table_name = ?";
            first_text(&session.fetch(sql, &[CellRef::Text(table.as_bytes())]).await?)
        }
    };
    let digest = Sha256::digest(format!("{found:?}"));
    Ok(format!("{} {made}", hex::lower(&digest[..8])))
}

fn first_text(rows: &[Vec<Fetched>]) -> String {
    rows.first().and_then(|row| row[0].text()).unwrap_or_default()
}

async fn found_table(session: &mut Session, table: &str) -> FaultResult<Option<FoundTable>> {
    match session.dialect() {
        Dialect::Sqlite => sqlite_table(session, table).await,
        Dialect::MySql | Dialect::MariaDb => mysql_table(session, table).await,
    }
}

async fn mysql_table(session: &mut Session, table: &str) -> FaultResult<Option<FoundTable>> {
    let name = [CellRef::Text(table.as_bytes())];
    let here = "table_schema = DATABASE() AND table_name = ?";
    let sql = format!("SELECT engine FROM information_schema.tables WHERE {here}");
    let rows = session.fetch(&sql, &name).await?;
    let Some(engine) = rows.first().map(|row| row[0].text()) else { return Ok(None) };
    let mut found = FoundTable { engine, ..FoundTable::default() };
    let sql = format!(
        "SELECT column_name, data_type, column_type, character_maximum_length, numeric_precision, numeric_scale, \
         datetime_precision, character_set_name, collation_name, is_nullable, column_default, extra, \
         generation_expression FROM information_schema.columns WHERE {here} ORDER BY ordinal_position"
    );
    found.columns = session.fetch(&sql, &name).await?.iter().map(|row| mysql_column(row)).collect();
    let sql = format!(
        "SELECT index_name, column_name, sub_part FROM information_schema.statistics WHERE {here} AND non_unique = 0 \
         ORDER BY index_name, seq_in_index"
    );
    for row in session.fetch(&sql, &name).await? {
        let (index, column) = (row[0].text().unwrap_or_default(), row[1].text().unwrap_or_default());
        let prefix = row[2].int().and_then(|prefix| u64::try_from(prefix).ok());
        if index == "PRIMARY" {
            found.primary_key.push(KeyPart { column, prefix });
        } else {
            match found.unique_indexes.last_mut() {
                Some((last, columns)) if *last == index => columns.push(column),
                _ => found.unique_indexes.push((index, vec![column])),
            }
        }
    }
    let sql = "SELECT trigger_name FROM information_schema.triggers \
               WHERE event_object_schema = DATABASE() AND event_object_table = ?";
    found.triggers = session.fetch(sql, &name).await?.iter().filter_map(|row| row[0].text()).collect();
    let sql = format!(
        "SELECT DISTINCT constraint_name FROM information_schema.key_column_usage \
         WHERE {here} AND referenced_table_name IS NOT NULL"
    );
    found.foreign_keys = session.fetch(&sql, &name).await?.iter().filter_map(|row| row[0].text()).collect();
    found.checks = mysql_checks(session, table).await?;
    Ok(Some(found))
}

async fn mysql_checks(session: &mut Session, table: &str) -> FaultResult<Vec<(String, String)>> {
    let sql = "SELECT c.constraint_name, c.check_clause FROM information_schema.check_constraints c \
               JOIN information_schema.table_constraints t ON t.constraint_schema = c.constraint_schema \
               AND t.constraint_name = c.constraint_name \
               WHERE t.table_schema = DATABASE() AND t.constraint_type = 'CHECK' AND t.table_name = ?";
    let maria = "SELECT constraint_name, check_clause FROM information_schema.check_constraints \
                 WHERE constraint_schema = DATABASE() AND table_name = ?";
    let sql = if session.dialect() == Dialect::MariaDb { maria } else { sql };
    let rows = session.fetch(sql, &[CellRef::Text(table.as_bytes())]).await?;
    Ok(rows.iter().map(|row| (row[0].text().unwrap_or_default(), row[1].text().unwrap_or_default())).collect())
}

fn mysql_column(row: &[Fetched]) -> FoundColumn {
    let text = |index: usize| row.get(index).and_then(Fetched::text);
    let number = |index: usize| row.get(index).and_then(Fetched::int).and_then(|value| u64::try_from(value).ok());
    let extra = text(11).unwrap_or_default().to_lowercase();
    let nullable = text(9).is_some_and(|text| text == "YES");
    let counting = if extra.contains(AUTO_INCREMENT) { " auto_increment" } else { "" };
    FoundColumn {
        name: text(0).unwrap_or_default(),
        data_type: text(1).unwrap_or_default().to_lowercase(),
        column_type: text(2).unwrap_or_default().to_lowercase() + counting,
        char_length: number(3),
        numeric_precision: number(4),
        numeric_scale: number(5),
        datetime_precision: number(6),
        charset: text(7),
        collation: text(8),
        nullable,
        has_default: nullable || text(10).is_some() || extra.contains("auto_increment") || extra.contains("default"),
        generated: text(12).is_some_and(|expression| !expression.is_empty()),
    }
}

async fn sqlite_table(session: &mut Session, table: &str) -> FaultResult<Option<FoundTable>> {
    let name = [CellRef::Text(table.as_bytes())];
    let sql = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid";
    let rows = session.fetch(sql, &name).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut found = FoundTable::default();
    let mut key = Vec::new();
    for row in &rows {
        let column = row[0].text().unwrap_or_default();
        let data_type = row[1].text().unwrap_or_default();
        let place = row[4].int().unwrap_or(0);
        if place > 0 {
            key.push((place, KeyPart { column: column.clone(), prefix: None }));
        }
        let nullable = row[2].int() == Some(0) && place == 0;
        found.columns.push(FoundColumn {
            name: column,
            column_type: data_type.clone(),
            data_type,
            nullable,
            has_default: nullable || row[3].text().is_some(),
            generated: row[5].int().is_some_and(|hidden| hidden > 1),
            ..FoundColumn::default()
        });
    }
    key.sort_by_key(|(place, _)| *place);
    found.primary_key = key.into_iter().map(|(_, part)| part).collect();
    let sql = "SELECT l.name, i.name, l.origin, i.coll FROM pragma_index_list(?) l, pragma_index_xinfo(l.name) i \
               WHERE l.\"unique\" = 1 AND i.key = 1 ORDER BY l.name, i.seqno";
    for row in session.fetch(sql, &name).await? {
        let (index, column) = (row[0].text().unwrap_or_default(), row[1].text().unwrap_or_default());
        if row[2].text().as_deref() == Some("pk") {
            let collation = row[3].text();
            found
                .columns
                .iter_mut()
                .filter(|known| known.name == column)
                .for_each(|known| known.collation = collation.clone());
            continue;
        }
        match found.unique_indexes.last_mut() {
            Some((last, columns)) if *last == index => columns.push(column),
            _ => found.unique_indexes.push((index, vec![column])),
        }
    }
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?";
    found.triggers = session.fetch(sql, &name).await?.iter().filter_map(|row| row[0].text()).collect();
    Ok(Some(found))
}
