//! Which names the databases take for tables and columns, and when two names are one.

/// Longest identifier of MySQL and MariaDB, in characters.
const MAX_CHARACTERS: usize = 64;

/// Whether every supported database takes `name` for a column.
///
/// # Errors
/// Why one would not, in words.
pub fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    if name.chars().count() > MAX_CHARACTERS {
        return Err(format!("the name is longer than {MAX_CHARACTERS} characters"));
    }
    if name.contains('\0') {
        return Err("the name holds a NUL character".into());
    }
    if name.chars().any(|character| u32::from(character) > 0xffff) {
        return Err("the name holds a character beyond U+FFFF, which MySQL does not take".into());
    }
    if name.ends_with(char::is_whitespace) {
        return Err("the name ends in a space".into());
    }
    Ok(())
}

/// [`check`] for a table: and names that the engine or SQLite keep for themselves are refused.
///
/// # Errors
/// Why one would not, in words.
pub fn check_table(name: &str) -> Result<(), String> {
    check(name)?;
    for reserved in ["_transvase_", "sqlite_"] {
        if fold(name).starts_with(reserved) {
            return Err(format!("names that begin with {reserved} are reserved"));
        }
    }
    Ok(())
}

/// The form in which two names of one table or schema must differ: databases compare them without case.
#[must_use]
pub fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// The first name that folds to the same as one before it.
pub(super) fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    let mut names = names;
    names.find(|name| !seen.insert(fold(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_server_would_refuse_are_refused() {
        assert!(check(&"n".repeat(64)).is_ok());
        assert!(check(&"é".repeat(64)).is_ok());
        for bad in ["", "a ", "a\0b", "😀", &"n".repeat(65)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check_table("_Transvase_units").is_err());
        assert!(check_table("SQLITE_x").is_err());
        assert!(check_table("orders").is_ok());
    }

    #[test]
    fn names_that_differ_only_by_case_are_one() {
        assert_eq!(repeated(["a", "b", "A"].into_iter()), Some("A"));
        assert_eq!(repeated(["Ä", "ä"].into_iter()), Some("ä"));
        assert_eq!(repeated(["a", "b"].into_iter()), None);
    }
}
