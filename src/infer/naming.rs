//! Names for columns and tables that every database takes: the attribute's own where it can be.

use crate::mapping::names::{check, check_table, fold};
use std::collections::BTreeSet;

/// Names that InnoDB keeps for itself (error 1166).
const RESERVED: [&str; 4] = ["db_row_id", "db_trx_id", "db_roll_ptr", "fts_doc_id"];

/// Longest name before a number is put behind it, in characters.
const LENGTH: usize = 56;

/// The names of one table's columns, or of all tables.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// A column's name.
    pub(super) fn column(&mut self, wanted: &str) -> String {
        let fits = check(wanted).is_ok() && !wanted.contains(char::is_control) && !wanted.starts_with(' ');
        self.take(wanted, fits && !RESERVED.contains(&fold(wanted).as_str()), "column")
    }

    /// A table's name.
    pub(super) fn table(&mut self, wanted: &str) -> String {
        let fits =
            check_table(wanted).is_ok() && !wanted.contains(['.', '/', '\\']) && !wanted.contains(char::is_control);
        self.take(wanted, fits, "items")
    }

    fn take(&mut self, wanted: &str, fits: bool, default: &str) -> String {
        if fits && self.taken.insert(fold(wanted)) {
            return wanted.to_owned();
        }
        let plain = if fits { wanted.chars().take(LENGTH).collect() } else { plain(wanted) };
        let stem = plain.trim().trim_matches('_');
        let stem = if stem.is_empty() || RESERVED.contains(&fold(stem).as_str()) { default } else { stem };
        let numbered = (1_u64..).map(|number| if number == 1 { stem.to_owned() } else { format!("{stem}_{number}") });
        let mut free = numbered.filter(|name| self.taken.insert(fold(name)));
        free.next().unwrap_or_default()
    }
}

/// Letters, digits and `_`.
fn plain(wanted: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = wanted.chars().take(LENGTH).map(letter).collect();
    // a table may not look like one of the engine's or of SQLite's
    if check_table(&name).is_err() { format!("t{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_where_they_can_be_and_are_never_one() {
        let mut names = Names::default();
        let mut given = |wanted: &str| names.column(wanted);
        assert_eq!(given("total"), "total");
        assert_eq!(given("Total"), "Total_2");
        assert_eq!(given("name.with dots"), "name.with dots");
        assert_eq!(given("\u{0}\n"), "column");
        assert_eq!(given("😀x"), "x");
        assert_eq!(given(&"n".repeat(300)), "n".repeat(56));
        assert_eq!(given(&"n".repeat(400)), format!("{}_2", "n".repeat(56)));
        assert_eq!(given("DB_TRX_ID"), "column_2");
        assert_eq!(given("Ünit"), "Ünit");
        let mut tables = Names::default();
        assert_eq!(tables.table("shop.orders-v2"), "shop_orders_v2");
        assert_eq!(tables.table("_transvase_runs"), "t_transvase_runs");
        assert_eq!(tables.table("SQLITE_x"), "tSQLITE_x");
        assert_eq!(tables.table("Shop_Orders_V2"), "Shop_Orders_V2_2");
        for name in ["total", "Total_2", "x", "column_2"] {
            assert!(check(name).is_ok());
        }
    }
}
