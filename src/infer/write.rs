//! A draft as the text of a mapping file, each choice with what it rests on.

use super::draft::{Column, Draft, Table};
use super::evidence;
use super::kind::Condition;
use crate::mapping::ColumnType;
use std::fmt::Write as _;

/// Attributes without a column that are named.
const LEFT_SHOWN: usize = 40;

impl Draft {
    /// The mapping file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        // writing to a string does not fail
        let _ok = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (sampled, items) = (evidence::count(self.sampled), evidence::count(self.items));
        let of = if self.complete { format!("all {items} items") } else { format!("{sampled} of about {items} items") };
        writeln!(out, "# Made by transvase plan from {of} of table {}.", evidence::name(&self.source))?;
        writeln!(
            out,
            "# Before it was saved, every sampled item was mapped by this very text. What fits no column of a"
        )?;
        writeln!(out, "# table is kept, as DynamoDB JSON, in its last one. The README says what each field means.")?;
        let key: Vec<String> = self.key.iter().map(ToString::to_string).collect();
        writeln!(out, "key = {}", quoted(&key.join(",")))?;
        self.tables.iter().try_for_each(|table| table.write(out))
    }
}

impl Table {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n# {}", self.about)?;
        writeln!(out, "[[table]]\nname = {}", quoted(&self.name))?;
        if !self.kind.conditions.is_empty() {
            writeln!(out, "where = [")?;
            for condition in &self.kind.conditions {
                let (name, test, text) = match condition {
                    Condition::Equals(name, text) => (name, "equals", text),
                    Condition::Begins(name, prefix) => (name, "begins_with", prefix),
                };
                writeln!(out, "    {{ attribute = {}, {test} = {} }},", quoted(&path(name)), quoted(text))?;
            }
            writeln!(out, "]")?;
        }
        writeln!(out, "rest = {}", quoted(&self.rest))?;
        for (name, why) in self.left.iter().take(LEFT_SHOWN) {
            writeln!(out, "#   {}: {why}", evidence::name(name))?;
        }
        if self.left.len() > LEFT_SHOWN {
            writeln!(out, "#   and {} more", evidence::count((self.left.len() - LEFT_SHOWN) as u64))?;
        }
        self.columns.iter().try_for_each(|column| column.write(out))
    }
}

impl Column {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\n[[table.column]]\nname = {}", quoted(&self.name))?;
        if self.name != self.from {
            writeln!(out, "from = {}", quoted(&path(&self.from)))?;
        }
        if let Some(prefix) = &self.strip_prefix {
            writeln!(out, "strip_prefix = {}", quoted(prefix))?;
        }
        let evidence = if self.evidence.is_empty() { String::new() } else { format!("  # {}", self.evidence) };
        writeln!(out, "type = \"{}\"{evidence}", self.ty)?;
        if self.key {
            writeln!(out, "key = true")?;
        }
        if self.required {
            return Ok(());
        }
        writeln!(out, "missing = \"null\"")?;
        // JSON takes anything
        if self.ty != ColumnType::Json {
            writeln!(out, "mismatch = \"null\"")?;
        }
        Ok(())
    }
}

/// An attribute's name as a path: in quotes when it would be read as steps.
fn path(name: &str) -> String {
    if !name.contains(['.', '[', ']', '"']) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => {
                // writing to a string does not fail
                let _ok = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
