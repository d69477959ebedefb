//! Statements that are kept rather than sent: what a command would do, in its own words.
//!
//! Promises: a session that rehearses sends queries only, so that nothing at the server changes; what it keeps is what it would
//! have sent, with values in place. Must not know: what is said.

use super::fault::{Fault, FaultKind};
use super::session::Statement;
use crate::model::dialect::Dialect;
use crate::model::rows::CellRef;
use std::sync::{Mutex, PoisonError};

/// MySQL's and MariaDB's number for a table that is not there.
const NO_SUCH_TABLE: &str = "1146";

/// The statements of all sessions that share it, in their order.
#[derive(Debug, Default)]
pub struct Rehearsal(Mutex<Vec<String>>);

impl Rehearsal {
    /// Keeps a line that is no statement: what would be waited for in between.
    pub fn remark(&self, text: &str) {
        self.keep(format!("-- {text}"));
    }

    /// What was kept so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a statement with its values.
    pub(super) fn note<'c>(&self, statement: &Statement, cells: impl Iterator<Item = CellRef<'c>>, dialect: Dialect) {
        self.keep(format!("{};", with_values(statement.0.as_str(), cells, dialect)));
    }

    fn keep(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Whether a query was of a table that is not there: the statements before it would have made it, without a row.
pub(super) fn is_of_no_table(fault: &Fault) -> bool {
    fault.kind == FaultKind::Other && (fault.code == NO_SUCH_TABLE || fault.message.contains("no such table"))
}

/// The text with its values in the places of the question marks. No text of ours has a question mark of its own.
fn with_values<'c>(text: &str, mut cells: impl Iterator<Item = CellRef<'c>>, dialect: Dialect) -> String {
    let mut parts = text.split('?');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(&cells.next().map_or("?".to_owned(), |cell| literal(cell, dialect)));
        out.push_str(part);
    }
    out
}

fn literal(cell: CellRef<'_>, dialect: Dialect) -> String {
    match cell {
        CellRef::Null => "NULL".to_owned(),
        CellRef::Int(value) => value.to_string(),
        CellRef::Double(value) => value.to_string(),
        CellRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes).replace('\'', "''");
            // a backslash is one in SQLite alone
            let text = if dialect == Dialect::Sqlite { text } else { text.replace('\\', "\\\\") };
            format!("'{text}'")
        }
        CellRef::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{digits}'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_they_would_be_bound() {
        let cells = || [CellRef::Text(b"it's a \\ ?"), CellRef::Null, CellRef::Int(-3), CellRef::Bytes(&[0, 255])];
        let said = with_values("SET a = ?, b = ? WHERE c = ? AND d = ?", cells().into_iter(), Dialect::MySql);
        assert_eq!(said, r"SET a = 'it''s a \\ ?', b = NULL WHERE c = -3 AND d = x'00ff'");
        let said = with_values("SET a = ?, b = 1", cells().into_iter(), Dialect::Sqlite);
        assert_eq!(said, r"SET a = 'it''s a \ ?', b = 1");
    }
}
