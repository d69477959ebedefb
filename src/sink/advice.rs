//! What would make a large load faster on this server, and by about how much: said before it begins, changed by nobody
//! but the operator. The factors were measured with rows of some 300 bytes, one setting changed at a time.

use crate::driver::fault::FaultResult;
use crate::driver::session::Session;
use crate::mapping::Table;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use std::collections::BTreeMap;

/// A load of fewer bytes is over before a setting is changed.
pub const LARGE_BYTES: u64 = 1 << 30;

/// A redo log below this fills faster than it is flushed, and the load waits for it.
const REDO_BYTES: u64 = 2 << 30;

/// What the server says of itself that matters to a load.
#[derive(Debug, Default)]
struct Settings {
    variables: BTreeMap<String, String>,
    /// Secondary indexes of the target tables, as `table.index`.
    indexes: Vec<String>,
}

/// What one setting of the server costs a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Which: one of [`ABOUT`].
    pub about: &'static str,
    /// What it costs, and what to do.
    pub line: String,
}

/// What advice may be about.
pub const ABOUT: [&str; 4] = ["redo log", "durability", "binary log", "secondary indexes"];

/// Advice for a load of `bytes` bytes into `tables`; none where all is well.
///
/// # Errors
/// The server's fault.
pub async fn advice(session: &mut Session, tables: &[Table], bytes: u64) -> FaultResult<Vec<Advice>> {
    if session.dialect() == Dialect::Sqlite || bytes < LARGE_BYTES {
        return Ok(Vec::new());
    }
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_redo_log_capacity', 'innodb_log_file_size', \
               'log_bin', 'sync_binlog', 'innodb_flush_log_at_trx_commit', 'innodb_buffer_pool_size')";
    let mut settings = Settings::default();
    for row in session.fetch(sql, &[]).await? {
        settings.variables.insert(row[0].text().unwrap_or_default().to_lowercase(), row[1].text().unwrap_or_default());
    }
    let sql = "SELECT DISTINCT index_name FROM information_schema.statistics \
               WHERE table_schema = DATABASE() AND table_name = ? AND index_name <> 'PRIMARY' ORDER BY index_name";
    for table in tables {
        for row in session.fetch(sql, &[CellRef::Text(table.name.as_bytes())]).await? {
            settings.indexes.push(format!("{}.{}", table.name, row[0].text().unwrap_or_default()));
        }
    }
    Ok(settings.advice(session.dialect()))
}

impl Settings {
    fn number(&self, name: &str) -> Option<u64> {
        self.variables.get(name)?.parse().ok()
    }

    fn advice(&self, dialect: Dialect) -> Vec<Advice> {
        let [redo_log, durability, binary_log, indexes] = ABOUT;
        let mut found = Vec::new();
        let mut add = |about, line| found.push(Advice { about, line });
        let redo = if dialect == Dialect::MariaDb { "innodb_log_file_size" } else { "innodb_redo_log_capacity" };
        if let Some(bytes) = self.number(redo).filter(|bytes| *bytes < REDO_BYTES) {
            add(
                redo_log,
                format!(
                    "{redo} is {} MiB: a load fills it and then waits for every page to be flushed; SET GLOBAL {redo} = {} \
                 needs no restart",
                    bytes >> 20,
                    REDO_BYTES * 2
                ),
            );
        }
        let flushes = self.number("innodb_flush_log_at_trx_commit") == Some(1);
        let logs = self.variables.get("log_bin").is_some_and(|on| on == "ON");
        let syncs = logs && self.number("sync_binlog") == Some(1);
        if flushes || syncs {
            add(durability,
                "innodb_flush_log_at_trx_commit = 2 and sync_binlog = 0 while the load runs: about 1.2 times faster; what \
                 a crash of the host then loses is found and written again"
                    .to_owned(),
            );
        }
        if logs {
            add(
                binary_log,
                "the binary log is on: without it about 1.3 times faster, where no replica and no restore needs it"
                    .to_owned(),
            );
        }
        if !self.indexes.is_empty() {
            add(
                indexes,
                format!(
                    "secondary indexes {}: a load without two such indexes, added afterwards in one ALTER, is about \
                 1.4 times faster",
                    self.indexes.join(", ")
                ),
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)], indexes: &[&str]) -> Settings {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings { variables, indexes: indexes.iter().map(|index| (*index).to_owned()).collect() }
    }

    #[test]
    fn a_server_as_it_is_installed_is_told_what_slows_it_down() {
        let defaults = [
            ("innodb_redo_log_capacity", "104857600"),
            ("log_bin", "ON"),
            ("sync_binlog", "1"),
            ("innodb_flush_log_at_trx_commit", "1"),
        ];
        let lines = settings(&defaults, &["orders.by_status"]).advice(Dialect::MySql);
        for (line, part) in lines.iter().zip(["is 100 MiB", "sync_binlog = 0", "binary log", "orders.by_status"]) {
            assert!(line.line.contains(part), "{line:?}");
        }
        assert_eq!(lines.iter().map(|line| line.about).collect::<Vec<_>>(), ABOUT);
    }

    #[test]
    fn a_server_that_is_ready_is_told_nothing() {
        let ready = [
            ("innodb_log_file_size", "4294967296"),
            ("log_bin", "OFF"),
            ("sync_binlog", "0"),
            ("innodb_flush_log_at_trx_commit", "2"),
        ];
        assert!(settings(&ready, &[]).advice(Dialect::MariaDb).is_empty());
    }
}
