//! Mappings for a DynamoDB target: items stay items. As they are, or as an `[item]` section says. This page is its
//! reference.
//!
//! ```toml
//! key = "pk:S,sk:S"                # the source table's key: partition key, sort key
//!
//! [item]
//! target_key = "customer:S,sk:S"   # the target table's key; left out: the source's, renamed as the rules say
//! drop = ["legacy", "address.old"] # attributes that are left out; all others stay as they are
//!
//! [[item.attribute]]               # renamed
//! name = "customer"
//! from = "pk"
//!
//! [[item.attribute]]               # raised to the root, where an index can use it
//! name = "zip"
//! from = "address.zip"
//!
//! [[item.attribute]]               # given another type
//! name = "total"
//! type = "N"
//! ```
//!
//! | field | meaning | when left out |
//! |---|---|---|
//! | `name` | the attribute in the target, at the root | required |
//! | `from` | where its value comes from: `total`, `address.zip`, `tags[0]` | the attribute called `name` |
//! | `type` | `S` or `N`: a number becomes its plain decimal text, a text that is a number becomes it | as it is |
//! | `copy` | `true`: the value stays where it was as well | `false`: it is moved |
//! | `missing` | an item without the value: `omit` the attribute, or `reject` the item | `omit` |
//!
//! An item is rejected, never altered, when a path leads into something that is no map or list, when a text to become
//! a number is none, when NULL or anything but a text or a number is to be given a type, and when it has an attribute
//! of the new name that no rule moves away. A map that loses its last member stays, empty. An element of a list can be
//! copied out of it, not moved or dropped, since that would renumber the others.
//!
//! Two items must never become one: every attribute of `key` must be in `target_key`, under its own name or a new one,
//! with its type as it is. Further attributes may be part of `target_key`; an item without them is rejected.

use super::document::key_plan;
use super::fields::{Fields, Place as FilePlace};
use super::path::{Path, Step};
use super::plan::{ColumnPlan, Plan, TablePlan};
use super::reshape::{Reshape, Rule, Scalar};
use super::shape::Slots;
use super::{Column, ColumnType, KeyAttribute, Mapping, Table, compile, parse_key};
use crate::error::{Error, Result};

/// The column that holds the item; the columns before it are the target's key.
const ITEM: &str = "item";

impl Mapping {
    /// Compiles the copying of items as they are, into a DynamoDB table with the same key.
    ///
    /// # Errors
    /// `Config` for a key that no DynamoDB table has.
    pub fn items(key: &[KeyAttribute], table: &str) -> Result<Self> {
        compile_items(key, key, Reshape::default(), table)
    }

    /// Compiles the text of a mapping file with an `[item]` section, for a target table called `table`; `file_name` is
    /// for messages. The module's doc is the reference.
    ///
    /// # Errors
    /// `Config`, naming the file, the line and the attribute.
    pub fn parse_items(text: &str, file_name: &str, table: &str) -> Result<Self> {
        let mut fields = FilePlace { file: file_name, text }.parse()?;
        let key = fields.read("key", |text| parse_key(text).map_err(|error| error.to_string()))?;
        let key =
            key.ok_or_else(|| fields.error("key is missing: write key = \"NAME:TYPE\", the source table's key"))?;
        if fields.take("table").is_some() {
            return Err(fields.error("[[table]] is for SQL targets: for a DynamoDB table write an [item] section"));
        }
        let mut sections = fields.tables("item")?.into_iter();
        let (Some(mut section), None) = (sections.next(), sections.next()) else {
            return Err(fields.error("it has no [item] section, which a mapping for a DynamoDB table needs"));
        };
        fields.finish()?;
        let target_key = section.read("target_key", |text| parse_key(text).map_err(|error| error.to_string()))?;
        let reshape = read_rules(&mut section, &key)?;
        let target_key = match target_key {
            Some(given) => given,
            None => renamed(&key, &reshape),
        };
        check_key(&key, &target_key, &reshape).map_err(|why| section.error(why))?;
        section.finish()?;
        compile_items(&key, &target_key, reshape, table)
    }
}

fn compile_items(key: &[KeyAttribute], target_key: &[KeyAttribute], reshape: Reshape, table: &str) -> Result<Mapping> {
    if key.is_empty() || key.len() > 2 {
        return Err(Error::config("a DynamoDB key has one or two attributes: name them with --key NAME:TYPE,…"));
    }
    let identity = compile::identity(&("items", key, target_key, &reshape))?;
    let mut slots = Slots::default();
    let (mut columns, mut plans) = (Vec::new(), Vec::new());
    for (place, attribute) in target_key.iter().enumerate() {
        let plan = key_plan(&source_of(&attribute.name, &reshape), attribute.ty, place, &mut slots);
        columns.push(Column { name: attribute.name.clone(), ty: plan.ty, nullable: false });
        plans.push(ColumnPlan::Attribute(plan));
    }
    columns.push(Column { name: ITEM.into(), ty: ColumnType::Json, nullable: false });
    plans.push(ColumnPlan::Item(reshape));
    let table = Table { name: table.into(), columns, key: (0..target_key.len()).collect(), indexes: Vec::new() };
    let table_plan = TablePlan { checks: Vec::new(), columns: plans, has_rest: false, named: None };
    let plan = Plan { slots, tables: vec![table_plan], skip_unmatched: false };
    Ok(Mapping { key: key.to_vec(), target_key: target_key.to_vec(), tables: vec![table], plan, identity })
}

fn read_rules(section: &mut Fields<'_>, key: &[KeyAttribute]) -> Result<Reshape> {
    let mut reshape = Reshape::default();
    for text in section.texts("drop")? {
        let path = Path::parse(&text).map_err(|why| section.error(format!("drop: {why}")))?;
        if let Some(attribute) = key.iter().find(|attribute| attribute.name == path.root) {
            return Err(section.error(format!("drop: {} is part of the key", attribute.name)));
        }
        if matches!(path.steps.last(), Some(Step::Index(_))) {
            return Err(section.error(format!("drop: {path} is an element of a list, which cannot be left out")));
        }
        reshape.drops.push(path);
    }
    for fields in section.tables("attribute")? {
        let rule = read_rule(fields, key, &reshape)?;
        reshape.rules.push(rule);
    }
    Ok(reshape)
}

fn read_rule(mut fields: Fields<'_>, key: &[KeyAttribute], before: &Reshape) -> Result<Rule> {
    let name = fields.required("name")?;
    fields.name_attribute(&name);
    if name.is_empty() {
        return Err(fields.error("the name is empty"));
    }
    if before.rules.iter().any(|rule| rule.name == name) {
        return Err(fields.error("another rule gives this attribute"));
    }
    let from = fields.read("from", Path::parse)?.unwrap_or_else(|| Path { root: name.clone(), steps: Vec::new() });
    let ty = fields.choice("type", &[("S", Scalar::S), ("N", Scalar::N)])?;
    let copy = fields.boolean("copy")?.unwrap_or(false);
    let required = fields.choice("missing", &[("omit", false), ("reject", true)])?.unwrap_or(false);
    if !copy && matches!(from.steps.last(), Some(Step::Index(_))) {
        return Err(fields.error(format!("{from} is an element of a list: copy = true takes it without moving it")));
    }
    if !copy && before.rules.iter().any(|rule| !rule.copy && rule.from == from) {
        return Err(fields.error(format!("another rule moves {from} already: say copy = true in one of them")));
    }
    if copy && from.is_whole(&name) {
        return Err(fields.error("it would stay where it is and be written there again: drop copy"));
    }
    if ty.is_some() && key.iter().any(|attribute| from.is_whole(&attribute.name)) {
        return Err(fields.error("a key attribute keeps its type, or two keys could become one"));
    }
    fields.finish()?;
    Ok(Rule { name, from, ty, copy, required })
}

/// Where the target's attribute `name` has its value from.
fn source_of(name: &str, reshape: &Reshape) -> Path {
    let rule = reshape.rules.iter().find(|rule| rule.name == name);
    rule.map_or_else(|| Path { root: name.to_owned(), steps: Vec::new() }, |rule| rule.from.clone())
}

/// The source's key under the names that the rules give it.
fn renamed(key: &[KeyAttribute], reshape: &Reshape) -> Vec<KeyAttribute> {
    let name = |attribute: &KeyAttribute| {
        let rule = reshape.rules.iter().find(|rule| rule.from.is_whole(&attribute.name));
        rule.map_or_else(|| attribute.name.clone(), |rule| rule.name.clone())
    };
    key.iter().map(|attribute| KeyAttribute { name: name(attribute), ty: attribute.ty }).collect()
}

/// Proves that the target's key tells the source's key; the error says what is missing.
fn check_key(key: &[KeyAttribute], target_key: &[KeyAttribute], reshape: &Reshape) -> Result<(), String> {
    for target in target_key {
        let whole = Path { root: target.name.clone(), steps: Vec::new() };
        match reshape.rules.iter().find(|rule| rule.name == target.name) {
            Some(Rule { ty: Some(_), .. }) => {
                return Err(format!("target_key: {} is given another type, which a key may not be", target.name));
            }
            Some(_) => {}
            None if reshape.cuts(&whole) => {
                return Err(format!("target_key: {} is dropped or moved away", target.name));
            }
            None => {}
        }
    }
    for attribute in key {
        let kept = target_key.iter().find(|target| source_of(&target.name, reshape).is_whole(&attribute.name));
        match kept {
            None => {
                return Err(format!(
                    "target_key lacks {}, under this name or a new one: two items of the source could become one",
                    attribute.name
                ));
            }
            Some(target) if target.ty != attribute.ty => {
                return Err(format!(
                    "target_key: {} is of type {} and has the values of {}, which is of type {}",
                    target.name,
                    target.ty.tag(),
                    attribute.name,
                    attribute.ty.tag()
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
