//! Loads of one table by LOAD DATA LOCAL, and the proof that a load did what an insert would have done.
//!
//! LOCAL makes warnings of errors: it cuts, clamps and skips, and goes on [domain: INSERT forms and what they hide]. So a
//! load counts only if every line became a row or was skipped for a key that is there already, and the server says
//! nothing else, not even a note. Whatever else it says, the batch takes the insert path, which is strict.

use super::transaction::Abort;
use crate::driver::fault::{Fault, FaultKind};
use crate::driver::session::{Loaded, Session, Statement};
use crate::mapping::ddl::quote;
use crate::mapping::{ColumnType, Table};
use crate::model::dialect::Dialect;
use crate::model::rows::{CellRef, Rows};

/// Lines of a load: the protocol counts warnings up to 65,535, so there are more of those than lines that can be skipped.
const LINES_MAX: usize = 65_000;

/// A duplicate key, in both servers' numbers.
const DUPLICATE: u16 = 1062;

/// The loads of one table.
pub(super) struct Load {
    /// Bytes go as they are: they have to be UTF-8, as the rest of the file.
    plain: Statement,
    /// Bytes go as hex digits.
    digits: Statement,
    /// By column: whether it holds bytes.
    binary: Vec<bool>,
    /// How the message of a duplicate primary key ends.
    primary: String,
}

impl Load {
    pub(super) fn new(table: &Table, dialect: Dialect) -> Self {
        let is_binary = |ty| matches!(ty, ColumnType::Varbinary(_) | ColumnType::Blob);
        let binary: Vec<bool> = table.columns.iter().map(|column| is_binary(column.ty)).collect();
        let primary = match dialect {
            Dialect::MySql => format!(" for key '{}.PRIMARY'", table.name),
            Dialect::MariaDb | Dialect::Sqlite => " for key 'PRIMARY'".to_owned(),
        };
        Load {
            plain: Statement::new(load(table, &[], dialect)),
            digits: Statement::new(load(table, &binary, dialect)),
            binary,
            primary,
        }
    }

    /// Loads nothing, which shows whether this server lets this user load.
    ///
    /// # Errors
    /// The server's fault.
    pub(super) async fn probe(&self, session: &mut Session) -> Result<(), Fault> {
        let loaded = session.load(&self.plain, &Rows::new(self.binary.len()), &[], &[]).await?;
        match self.present(&loaded, 0) {
            Some(0) => Ok(()),
            _ => Err(Fault::new(FaultKind::Other, "load", "a load of no rows was answered with warnings")),
        }
    }

    /// Loads rows in this order; returns how many were there already. When some may be, a load has no more lines than the
    /// server lists warnings, or the skipped ones could not all be told.
    ///
    /// # Errors
    /// `Unloadable` when the insert path has to decide; a fault that does not depend on how rows are sent.
    pub(super) async fn write(
        &self,
        session: &mut Session,
        rows: &Rows,
        order: &[u32],
        may_be_present: bool,
    ) -> Result<u64, Abort> {
        let lines_max = if may_be_present { LINES_MAX.min(session.warnings_max()).max(1) } else { LINES_MAX };
        let is_text = |row: &u32| {
            let bytes = rows.row(*row as usize).zip(&self.binary).filter(|(_, binary)| **binary);
            bytes.map(|(cell, _)| cell).all(is_utf8)
        };
        let (statement, hex) =
            if order.iter().all(is_text) { (&self.plain, &[][..]) } else { (&self.digits, self.binary.as_slice()) };
        let mut present = 0;
        for lines in order.chunks(lines_max) {
            let loaded = session.load(statement, rows, lines, hex).await.map_err(declined)?;
            let unproved = || Abort::Unloadable("the load was answered with more than rows already there".to_owned());
            present += self.present(&loaded, lines.len() as u64).ok_or_else(unproved)?;
        }
        Ok(present)
    }

    /// How many lines met a row with their key, if that is all that kept lines from becoming rows.
    fn present(&self, loaded: &Loaded, lines: u64) -> Option<u64> {
        let is_duplicate = |code: u16, message: &str| code == DUPLICATE && message.ends_with(&self.primary);
        let only_duplicates = loaded.warnings.iter().all(|warned| is_duplicate(warned.code, &warned.message));
        let all = loaded.records == lines && loaded.written + loaded.skipped == lines && loaded.deleted == 0;
        (all && only_duplicates && loaded.warnings.len() as u64 == loaded.skipped).then_some(loaded.skipped)
    }
}

/// What a failed load means: locks, lost connections and full disks are the same for every statement; the rest, the insert
/// path has to look at.
fn declined(fault: Fault) -> Abort {
    match fault.kind {
        FaultKind::Retry | FaultKind::Lost | FaultKind::Blocked | FaultKind::Denied => Abort::Fault(fault),
        FaultKind::Duplicate | FaultKind::Value | FaultKind::Other => {
            Abort::Unloadable(format!("the load failed with error {}", fault.code))
        }
    }
}

fn is_utf8(cell: CellRef<'_>) -> bool {
    match cell {
        CellRef::Text(bytes) | CellRef::Bytes(bytes) => std::str::from_utf8(bytes).is_ok(),
        CellRef::Null | CellRef::Int(_) | CellRef::Double(_) => true,
    }
}

/// The statement; columns marked in `digits` are read as hex digits.
fn load(table: &Table, digits: &[bool], dialect: Dialect) -> String {
    let (mut columns, mut sets) = (Vec::new(), Vec::new());
    for (index, column) in table.columns.iter().enumerate() {
        let name = quote(&column.name, dialect);
        if digits.get(index) == Some(&true) {
            columns.push(format!("@c{index}"));
            sets.push(format!("{name}=UNHEX(@c{index})"));
        } else {
            columns.push(name);
        }
    }
    let set = if sets.is_empty() { String::new() } else { format!(" SET {}", sets.join(",")) };
    format!(
        "LOAD DATA LOCAL INFILE 'rows' IGNORE INTO TABLE {} CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' \
         ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        quote(&table.name, dialect),
        columns.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::session::Warned;
    use crate::mapping::Column;

    fn table() -> Table {
        let column = |name: &str, ty| Column { name: name.into(), ty, nullable: false };
        let columns = vec![column("k", ColumnType::Varbinary(9)), column("v`", ColumnType::Text)];
        Table { name: "orders".into(), columns, key: vec![0], indexes: Vec::new() }
    }

    #[test]
    fn bytes_are_read_as_they_are_or_as_digits() {
        let tail = "CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'";
        let head = "LOAD DATA LOCAL INFILE 'rows' IGNORE INTO TABLE `orders`";
        assert_eq!(load(&table(), &[], Dialect::MySql), format!("{head} {tail} (`k`,`v```)"));
        let digits = format!("{head} {tail} (@c0,`v```) SET `k`=UNHEX(@c0)");
        assert_eq!(load(&table(), &[true, false], Dialect::MySql), digits);
    }

    /// Ten lines, of which two were skipped for `warnings`.
    fn present(dialect: Dialect, change: impl Fn(&mut Loaded), warnings: [&str; 2]) -> Option<u64> {
        let warned = |message: &str| Warned { code: 1062, message: message.to_owned() };
        let warnings = warnings.into_iter().map(warned).collect();
        let mut loaded = Loaded { records: 10, written: 8, deleted: 0, skipped: 2, warnings };
        change(&mut loaded);
        Load::new(&table(), dialect).present(&loaded, 10)
    }

    #[test]
    fn a_load_counts_when_it_skipped_rows_already_there_and_said_nothing_else() {
        let mysql = ["Duplicate entry 'a' for key 'orders.PRIMARY'"; 2];
        let maria = ["Duplicate entry 'a' for key 'PRIMARY'"; 2];
        assert_eq!(present(Dialect::MySql, |_| {}, mysql), Some(2));
        assert_eq!(present(Dialect::MariaDb, |_| {}, maria), Some(2));
        let other_index = [mysql[0], "Duplicate entry ' for key 'orders.PRIMARY'' for key 'orders.email'"];
        assert_eq!(present(Dialect::MySql, |_| {}, other_index), None);
        assert_eq!(present(Dialect::MariaDb, |_| {}, [maria[0], "Duplicate entry 'a' for key 'email'"]), None);
        let changes: [fn(&mut Loaded); 6] = [
            |loaded| loaded.records = 9,
            |loaded| loaded.written = 7,
            |loaded| loaded.deleted = 1,
            // fewer warnings than lines skipped: something is hidden
            |loaded| drop(loaded.warnings.pop()),
            // a value was cut
            |loaded| loaded.warnings[1].code = 1265,
            |loaded| loaded.warnings.push(Warned { code: 1265, message: "Data truncated".to_owned() }),
        ];
        for change in changes {
            assert_eq!(present(Dialect::MySql, change, mysql), None);
        }
    }
}
