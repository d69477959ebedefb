//! What SHOW GRANTS says, read: which privileges a user has in one database. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// A user's privileges in one database.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// On all of the server.
    everywhere: BTreeSet<String>,
    /// On the database.
    here: BTreeSet<String>,
    /// On single tables of it.
    tables: BTreeMap<String, BTreeSet<String>>,
    /// Whether some come by a role, which is not read.
    pub(super) roles: bool,
}

impl Grants {
    /// Of the lines of SHOW GRANTS, those that hold in `database`.
    pub(super) fn parse<'l>(lines: impl Iterator<Item = &'l str>, database: &str) -> Grants {
        let mut grants = Grants::default();
        for line in lines {
            let Some(rest) = line.strip_prefix("GRANT ") else { continue };
            let Some((privileges, object)) = rest.split_once(" ON ") else {
                grants.roles = true;
                continue;
            };
            let privileges = split(privileges);
            let object = object.split_once(" TO ").map_or(object, |(object, _)| object);
            match object_of(object) {
                (None, _) => grants.everywhere.extend(privileges),
                (Some(pattern), None) if is_like(database.as_bytes(), pattern.as_bytes()) => {
                    grants.here.extend(privileges);
                }
                (Some(name), Some(table)) if name == database => {
                    grants.tables.entry(table).or_default().extend(privileges);
                }
                _ => {}
            }
        }
        grants
    }

    /// Whether `privilege` is held in all of the database.
    pub(super) fn holds(&self, privilege: &str) -> bool {
        [&self.everywhere, &self.here].into_iter().any(|set| has(set, privilege))
    }

    /// Whether `privilege` is held on this table.
    pub(super) fn holds_on(&self, privilege: &str, table: &str) -> bool {
        self.holds(privilege) || self.tables.get(table).is_some_and(|set| has(set, privilege))
    }
}

fn has(privileges: &BTreeSet<String>, privilege: &str) -> bool {
    privileges.contains(privilege) || privileges.contains("ALL PRIVILEGES") || privileges.contains("ALL")
}

/// Privileges between commas; those on single columns do not count.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0_u32);
    for character in text.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_uppercase()).filter(|part| !part.contains('(')).collect()
}

/// The database and the table of `*.*`, `` `database`.* `` and `` `database`.`table` ``; none for all.
fn object_of(text: &str) -> (Option<String>, Option<String>) {
    let text = text.trim().trim_start_matches("TABLE ");
    let Some(rest) = text.strip_prefix('`') else { return (None, None) };
    let (database, rest) = rest.split_once("`.").unwrap_or((rest.trim_end_matches('`'), "*"));
    let table = rest.trim().strip_prefix('`').map(|table| table.trim_end_matches('`').replace("``", "`"));
    (Some(database.replace("``", "`")), table)
}

/// Whether `name` is like `pattern`, in which `%` stands for anything and `_` for one byte, unless after a backslash.
fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'%', rest @ ..] => (0..=name.len()).any(|skip| is_like(name.get(skip..).unwrap_or_default(), rest)),
        [b'_', rest @ ..] => name.split_first().is_some_and(|(_, name)| is_like(name, rest)),
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
            name.split_first().is_some_and(|(first, name)| first == byte && is_like(name, rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(lines.iter().copied(), "shop_1")
    }

    #[test]
    fn privileges_hold_where_they_were_granted() {
        let all = grants(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"]);
        assert!(all.holds("CREATE") && all.holds_on("TRIGGER", "orders"));
        let some = grants(&[
            "GRANT USAGE ON *.* TO `loader`@`%`",
            "GRANT SELECT, INSERT, UPDATE ON `shop\\_1`.* TO `loader`@`%`",
            "GRANT DELETE, TRIGGER ON `shop_1`.`orders` TO `loader`@`%`",
            "GRANT CREATE ON `other`.* TO `loader`@`%`",
        ]);
        assert!(some.holds("SELECT") && some.holds("UPDATE") && !some.holds("DELETE") && !some.holds("CREATE"));
        assert!(some.holds_on("TRIGGER", "orders") && !some.holds_on("TRIGGER", "others"));
        assert!(!some.roles);
    }

    #[test]
    fn patterns_columns_and_roles_are_understood() {
        assert!(grants(&["GRANT CREATE ON `shop%`.* TO `u`@`%`"]).holds("CREATE"));
        assert!(grants(&["GRANT CREATE ON `shop__`.* TO `u`@`%`"]).holds("CREATE"));
        assert!(!grants(&["GRANT CREATE ON `shop\\_\\_`.* TO `u`@`%`"]).holds("CREATE"));
        let columns = grants(&["GRANT SELECT (`a`, `b`), INSERT ON `shop_1`.`t` TO `u`@`%`"]);
        assert!(!columns.holds_on("SELECT", "t") && columns.holds_on("INSERT", "t"));
        assert!(grants(&["GRANT `writer`@`%` TO `u`@`%`"]).roles);
        assert!(!grants(&["REVOKE SELECT ON `shop_1`.* FROM `u`@`%`"]).holds("SELECT"));
    }
}
