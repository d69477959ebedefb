//! Reads TOML tables field by field, so that every complaint names the file, the line, the table and the column, and
//! so that a field nobody asked for is a complaint.

use crate::error::{Error, Result};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// An error about a line of a mapping file. Lines count from one.
pub(super) fn located(file: &str, line: usize, table: Option<&str>, column: Option<&str>, message: &str) -> Error {
    let mut place = format!("mapping file {file}, line {line}");
    for (kind, name) in [("table", table), ("column", column)] {
        if let Some(name) = name {
            place = format!("{place}, {kind} {name}");
        }
    }
    Error::config(format!("{place}: {message}"))
}

/// A file, and how far into it the reader is.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    /// The file's name, for messages.
    pub(super) file: &'t str,
    /// Its text.
    pub(super) text: &'t str,
}

/// The fields of one TOML table that were not taken yet.
pub(super) struct Fields<'t> {
    place: Place<'t>,
    /// Where the table begins, in bytes.
    start: usize,
    table: DeTable<'t>,
    /// The `[[table]]` and `[[table.column]]`, or the `[[item.attribute]]`, that this is or lies in.
    names: [Option<String>; 3],
}

impl<'t> Place<'t> {
    /// Reads the whole file.
    pub(super) fn parse(self) -> Result<Fields<'t>> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let line = self.line(error.span().map_or(0, |span| span.start));
            located(self.file, line, None, None, &format!("not TOML: {}", error.message().replace('\n', ", ")))
        })?;
        Ok(Fields { place: self, start: 0, table: table.into_inner(), names: [None, None, None] })
    }

    fn line(self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

impl<'t> Fields<'t> {
    /// The line on which the table begins.
    pub(super) fn line(&self) -> usize {
        self.place.line(self.start)
    }

    /// An error about this table.
    pub(super) fn error(&self, message: impl AsRef<str>) -> Error {
        self.error_at(self.start, message)
    }

    fn error_at(&self, at: usize, message: impl AsRef<str>) -> Error {
        let [table, column, attribute] = &self.names;
        let named = attribute.as_ref().map(|name| format!("attribute {name}: {}", message.as_ref()));
        let message = named.as_deref().unwrap_or(message.as_ref());
        located(self.place.file, self.place.line(at), table.as_deref(), column.as_deref(), message)
    }

    /// Names the table or the column that this is, for the errors that follow.
    pub(super) fn name_table(&mut self, name: &str) {
        self.names[0] = Some(name.to_owned());
    }

    /// See [`Fields::name_table`].
    pub(super) fn name_column(&mut self, name: &str) {
        self.names[1] = Some(name.to_owned());
    }

    /// See [`Fields::name_table`].
    pub(super) fn name_attribute(&mut self, name: &str) {
        self.names[2] = Some(name.to_owned());
    }

    /// Takes a field.
    pub(super) fn take(&mut self, name: &str) -> Option<Spanned<DeValue<'t>>> {
        self.table.remove(name)
    }

    /// Takes a text and makes something of it; the error of `read` is said about the field's line.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> std::result::Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            return Err(self.error_at(at, format!("{name} must be text, in quotes")));
        };
        read(text).map(Some).map_err(|why| self.error_at(at, why))
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.read(name, |text| Ok(text.to_owned()))
    }

    /// Takes a list of texts; a single one need not be in a list.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let at = value.span().start;
        let wrong = || self.error_at(at, format!("{name} must be text in quotes, or a list of them"));
        match value.get_ref() {
            DeValue::String(text) => Ok(vec![text.to_string()]),
            DeValue::Array(array) => {
                array.iter().map(|text| text.get_ref().as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            _ => Err(wrong()),
        }
    }

    /// Takes a text that must be there.
    pub(super) fn required(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| self.error(format!("{name} is missing")))
    }

    /// Takes a boolean.
    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = value.span().start;
        let boolean = value.get_ref().as_bool();
        boolean.map(Some).ok_or_else(|| self.error_at(at, format!("{name} must be true or false")))
    }

    /// Takes a word out of a list.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        self.read(name, |text| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let found = choices.iter().find(|(word, _)| *word == text);
            found.map(|(_, choice)| *choice).ok_or_else(|| format!("{name} must be one of {}", words.join(", ")))
        })
    }

    /// Takes a list of tables; a single one need not be in a list.
    pub(super) fn tables(&mut self, name: &str) -> Result<Vec<Fields<'t>>> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let span = value.span();
        let elements = match value.into_inner() {
            DeValue::Array(array) => array,
            single => DeArray::from_iter([Spanned::new(span.clone(), single)]),
        };
        let mut tables = Vec::new();
        for element in elements {
            let start = element.span().start;
            let DeValue::Table(table) = element.into_inner() else {
                return Err(self.error_at(start, format!("{name} must hold tables")));
            };
            tables.push(Fields { place: self.place, start, table, names: self.names.clone() });
        }
        Ok(tables)
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<()> {
        let first = self.table.keys().min_by_key(|name| name.span().start);
        first.map_or(Ok(()), |name| {
            Err(self.error_at(name.span().start, format!("{} is not a field of it", name.get_ref())))
        })
    }
}
