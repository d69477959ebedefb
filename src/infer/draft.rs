//! A mapping on its way: tables and columns, before they are text.

use super::column::{self, Known};
use super::kind::Kind;
use super::naming::Names;
use super::{evidence, fit};
use crate::census::Census;
use crate::mapping::{ColumnType, KeyAttribute};

/// What a mapping is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The DynamoDB table's name.
    pub table: &'a str,
    /// Its key.
    pub key: &'a [KeyAttribute],
    /// Whether the censuses are of every item of a source that stands still.
    pub complete: bool,
    /// About how many items there are.
    pub items: u64,
    /// Whether rows will be written in key order.
    pub clustered: bool,
}

/// A mapping.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) key: Vec<KeyAttribute>,
    pub(super) source: String,
    pub(super) complete: bool,
    pub(super) items: u64,
    pub(super) sampled: u64,
    pub(super) tables: Vec<Table>,
}

/// One of its tables.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Said above it.
    pub(super) about: String,
    pub(super) columns: Vec<Column>,
    pub(super) rest: String,
    /// Attributes that have no column, and why.
    pub(super) left: Vec<(String, String)>,
}

/// One of its columns.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) from: String,
    pub(super) ty: ColumnType,
    pub(super) key: bool,
    pub(super) strip_prefix: Option<String>,
    /// Whether nothing but a value of the type gets in.
    pub(super) required: bool,
    /// Said behind its type.
    pub(super) evidence: String,
}

/// Of a hundred items as many must be of no kind for them to have columns of their own.
const TYPED_PERCENT: u64 = 10;

impl Draft {
    /// A table for each kind, and one for what is of none; `censuses` are of the kinds and then of the latter.
    #[must_use]
    pub fn new(facts: &Facts<'_>, kinds: &[Kind], censuses: &[Census]) -> Draft {
        let sampled: u64 = censuses.iter().map(|census| census.items).sum();
        let mut names = Names::default();
        let mut tables = Vec::new();
        for (kind, census) in kinds.iter().zip(censuses) {
            let about = format!("{} of {} sampled items", evidence::count(census.items), evidence::count(sampled));
            let columns = columns(facts, kind, census, false);
            tables.push(table(names.table(&kind.name), kind.clone(), about, columns));
        }
        if let Some(others) = censuses.get(kinds.len()) {
            let alone = kinds.is_empty();
            let name = if alone { facts.table.to_owned() } else { format!("{}_other", facts.table) };
            let kind = Kind { name: name.clone(), conditions: Vec::new() };
            let typed = others.items * 100 >= sampled * TYPED_PERCENT && others.items > 0;
            let all = columns(facts, &kind, others, !alone);
            let columns = if typed { all } else { key_alone(all) };
            let about = about_others(alone, others.items, sampled);
            tables.push(table(names.table(&name), kind, about, columns));
        }
        Draft {
            key: facts.key.to_vec(),
            source: facts.table.to_owned(),
            complete: facts.complete,
            items: facts.items,
            sampled,
            tables,
        }
    }

    /// Takes a column out of a table, so that `rest` gets its attribute. False when it is one that must stay.
    #[must_use]
    pub fn leave_out(&mut self, table: usize, column: &str, why: &str) -> bool {
        let Some(table) = self.tables.get_mut(table) else { return false };
        let Some(place) = table.columns.iter().position(|own| own.name == column && !own.key) else { return false };
        let column = table.columns.remove(place);
        table.left.push((column.from, why.to_owned()));
        true
    }
}

fn about_others(alone: bool, items: u64, sampled: u64) -> String {
    let (items, sampled) = (evidence::count(items), evidence::count(sampled));
    if alone {
        return format!("{sampled} sampled items");
    }
    format!(
        "{items} of {sampled} sampled items: what no table above takes, kinds that were not seen included; keys of any \
         length, so that nothing is rejected and no two items meet in one row"
    )
}

/// The key's columns alone; all else goes to `rest`.
fn key_alone(all: (Vec<Column>, Vec<(String, String)>)) -> (Vec<Column>, Vec<(String, String)>) {
    (all.0.into_iter().filter(|column| column.key).collect(), Vec::new())
}

fn table(name: String, kind: Kind, about: String, made: (Vec<Column>, Vec<(String, String)>)) -> Table {
    let (mut columns, mut left) = made;
    let mut names = Names::default();
    for column in &mut columns {
        column.name = names.column(&column.from);
    }
    let fitting = fit::fit(&mut columns);
    let crowded = columns.split_off(fitting);
    left.extend(crowded.into_iter().map(|column| (column.from, "no room in one row of InnoDB".to_owned())));
    Table { rest: names.column("extra"), name, kind, about, columns, left }
}

/// The columns of a kind, and the attributes without one; keys of any length when `any_key`.
fn columns(facts: &Facts<'_>, kind: &Kind, census: &Census, any_key: bool) -> (Vec<Column>, Vec<(String, String)>) {
    let known = Known { items: census.items, complete: facts.complete };
    let mut columns = Vec::new();
    for (place, key) in facts.key.iter().enumerate() {
        let attribute = census.attributes.get(&key.name);
        let ty = match any_key {
            true => column::any_key(place, key.ty),
            false => column::choose_key(place, key.ty, attribute, known),
        };
        columns.push(Column {
            name: String::new(),
            from: key.name.clone(),
            ty,
            key: true,
            strip_prefix: kind.prefix(&key.name).map(str::to_owned),
            required: true,
            evidence: attribute.map_or_else(String::new, |attribute| column::evidence(attribute, known)),
        });
    }
    let mut others: Vec<_> = census.attributes.sorted();
    others.retain(|(name, _)| !facts.key.iter().any(|key| key.name == *name));
    others.sort_by_key(|(_, attribute)| std::cmp::Reverse(attribute.items));
    let mut left = Vec::new();
    for (name, attribute) in others {
        let evidence = column::evidence(attribute, known);
        match column::choose(attribute, known) {
            Ok(ty) => columns.push(Column {
                name: String::new(),
                from: name.to_owned(),
                ty,
                key: false,
                strip_prefix: None,
                required: facts.complete && attribute.items == census.items && attribute.types.of("NULL") == 0,
                evidence,
            }),
            Err(why) => left.push((name.to_owned(), format!("{why}: {evidence}"))),
        }
    }
    (columns, left)
}
