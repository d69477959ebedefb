//! What the text of a JSON column is: whoever compares two of them must know whether a list is a set.

use super::convert::Conversion;
use super::plan::ColumnPlan;
use super::spec::JsonForm;
use super::{ColumnType, Mapping};

/// What a JSON column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonText {
    /// Attributes of an item by name, each value with its type tag: a whole item, or the rest of one.
    Item,
    /// One value with its type tag.
    Value,
    /// Plain JSON.
    Plain,
}

impl Mapping {
    /// What column `column` of table `table` holds; none when it is no JSON column.
    #[must_use]
    pub fn json_text(&self, table: usize, column: usize) -> Option<JsonText> {
        let ty = self.tables.get(table)?.columns.get(column)?.ty;
        if ty != ColumnType::Json {
            return None;
        }
        Some(match self.plan.tables.get(table)?.columns.get(column)? {
            ColumnPlan::Rest | ColumnPlan::Whole | ColumnPlan::Item(_) => JsonText::Item,
            ColumnPlan::Attribute(plan) => match plan.conversion {
                Conversion::Json(JsonForm::DynamoDb) => JsonText::Value,
                _ => JsonText::Plain,
            },
        })
    }
}
