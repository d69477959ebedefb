//! A compiled mapping as the [`Mapper`](super::Mapper) follows it: slots instead of names, conversions instead of types.

use super::convert::{Conversion, Fault, Unfit, append};
use super::path::{Found, Path, follow};
use super::predicate::Test;
use super::reshape::Reshape;
use super::shape::Slots;
use super::spec::Fallback;
use super::{ColumnType, KeyType};
use crate::model::rows::{CellRef, Rows};
use crate::model::value::Value;

/// All tables, and the slots that their columns and conditions use.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Top-level attributes that are needed.
    pub(super) slots: Slots,
    /// The tables, in the order in which they are asked.
    pub(super) tables: Vec<TablePlan>,
    /// Whether items that no table takes are skipped; otherwise they are rejected.
    pub(super) skip_unmatched: bool,
}

/// How one table is filled.
#[derive(Clone, Debug)]
pub(super) struct TablePlan {
    /// All must hold for an item to be taken.
    pub(super) checks: Vec<Check>,
    /// One for each column.
    pub(super) columns: Vec<ColumnPlan>,
    /// Whether there is a `Rest` column.
    pub(super) has_rest: bool,
    /// The slots of all attributes that an item may have; none when it may have others.
    pub(super) named: Option<Vec<usize>>,
}

/// One condition.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// Where the value is.
    pub(super) place: Place,
    /// What must hold for it.
    pub(super) test: Test,
}

/// A path whose root is a slot.
#[derive(Clone, Debug)]
pub(super) struct Place {
    slot: usize,
    path: Path,
}

/// How one column is filled.
#[derive(Clone, Debug)]
pub(super) enum ColumnPlan {
    /// From an attribute.
    Attribute(AttributePlan),
    /// With every attribute that no column of the row took.
    Rest,
    /// With the whole item.
    Whole,
    /// With the item as a DynamoDB table gets it.
    Item(Reshape),
}

/// How a column is filled from an attribute.
#[derive(Clone, Debug)]
pub(super) struct AttributePlan {
    /// Where the value is.
    pub(super) place: Place,
    /// The column's type, for messages.
    pub(super) ty: ColumnType,
    /// How the value becomes a cell.
    pub(super) conversion: Conversion,
    /// Set when the value is a key attribute of the source: it has this type and is not empty.
    pub(super) source_key: Option<KeyType>,
    /// Cut off the front of the text.
    pub(super) strip_prefix: Option<String>,
    /// What to do when the attribute is absent.
    pub(super) missing: Fallback,
    /// What to do when the attribute is NULL; none means that NULL is converted like any other value.
    pub(super) null: Option<Fallback>,
    /// What to do when the attribute is of another type.
    pub(super) mismatch: Fallback,
    /// The default: one row of one cell.
    pub(super) default: Option<Rows>,
}

impl Place {
    /// The place of `path`.
    pub(super) fn new(slots: &mut Slots, path: &Path) -> Self {
        Place { slot: slots.slot(&path.root), path: path.clone() }
    }

    /// What the path leads to.
    #[inline]
    pub(super) fn find<'a>(&self, found: &[Option<Value<'a>>]) -> Found<'a> {
        match found.get(self.slot).copied().flatten() {
            None => Found::Missing,
            Some(value) if self.path.steps.is_empty() => Found::Value(value),
            Some(value) => follow(value, &self.path.steps),
        }
    }

    /// The attribute that the place is in.
    pub(super) fn root(&self) -> &str {
        &self.path.root
    }

    /// The value of the place's attribute.
    pub(super) fn whole<'a>(&self, found: &[Option<Value<'a>>]) -> Option<Value<'a>> {
        found.get(self.slot).copied().flatten()
    }

    /// Whether the place is the whole attribute called `name`.
    pub(super) fn is_whole(&self, name: &str) -> bool {
        self.path.is_whole(name)
    }

    /// The slot, when the place is a whole attribute.
    pub(super) fn whole_slot(&self) -> Option<usize> {
        self.path.steps.is_empty().then_some(self.slot)
    }
}

impl TablePlan {
    /// Whether the table names every one of the item's `attributes`.
    #[inline]
    pub(super) fn names_all(&self, found: &[Option<Value<'_>>], attributes: usize) -> bool {
        let Some(named) = &self.named else { return true };
        named.iter().filter(|slot| found[**slot].is_some()).count() == attributes
    }

    /// Whether the table takes the item.
    #[inline]
    pub(super) fn takes(&self, found: &[Option<Value<'_>>]) -> bool {
        self.checks.iter().all(|check| check.test.holds(check.place.find(found)))
    }
}

impl AttributePlan {
    /// Appends the column's cell. Says whether it holds the value, rather than what stands in for it.
    ///
    /// The error is the reason to reject the item.
    #[inline]
    pub(super) fn append(&self, found: &[Option<Value<'_>>], rows: &mut Rows) -> Result<bool, String> {
        let value = match (self.place.find(found), self.null) {
            (Found::Value(Value::Null), Some(rule)) => return self.stand_in(rule, rows, || "it is NULL".into()),
            (Found::Value(value), _) => value,
            (Found::Missing, _) => return self.stand_in(self.missing, rows, || "it is missing".into()),
            (Found::Blocked(tag), _) => {
                return self.stand_in(self.mismatch, rows, || format!("its path leads into type {tag}"));
            }
        };
        match self.convert(value, rows) {
            Ok(()) => Ok(true),
            Err(Fault::Unfit(unfit)) => Err(self.reason(&format!("{unfit}"))),
            Err(Fault::Form(what)) => self.stand_in(self.mismatch, rows, || what.into()),
            Err(Fault::Type) => self.stand_in(self.mismatch, rows, || format!("it is of type {}", value.tag())),
        }
    }

    #[inline]
    fn convert(&self, value: Value<'_>, rows: &mut Rows) -> Result<(), Fault> {
        match (self.source_key, value) {
            (Some(KeyType::S), Value::S("")) | (Some(KeyType::B), Value::B("")) => {
                return Err(Fault::Unfit(Unfit::EmptyKey));
            }
            (Some(ty), value) if ty.tag() != value.tag() => return Err(Fault::Type),
            _ => {}
        }
        match (&self.strip_prefix, value) {
            (None, value) => append(self.conversion, value, rows),
            (Some(prefix), Value::S(text)) => {
                let rest = text.strip_prefix(prefix.as_str()).ok_or(Fault::Form("the text lacks the prefix"))?;
                append(self.conversion, Value::S(rest), rows)
            }
            (Some(_), _) => Err(Fault::Type),
        }
    }

    fn stand_in(&self, rule: Fallback, rows: &mut Rows, why: impl FnOnce() -> String) -> Result<bool, String> {
        match (rule, &self.default) {
            (Fallback::Null, _) => rows.null(),
            (Fallback::Default, Some(default)) => copy_cell(default.cell(0, 0), rows),
            (Fallback::Reject, _) | (Fallback::Default, None) => return Err(self.reason(&why())),
        }
        Ok(false)
    }

    fn reason(&self, what: &str) -> String {
        format!("attribute {} for a column of type {}: {what}", self.place.path, self.ty)
    }
}

fn copy_cell(cell: CellRef<'_>, rows: &mut Rows) {
    let copy = |bytes: &[u8], out: &mut Vec<u8>| -> Result<(), std::convert::Infallible> {
        out.extend_from_slice(bytes);
        Ok(())
    };
    match cell {
        CellRef::Null => rows.null(),
        CellRef::Int(value) => rows.int(value),
        CellRef::Double(value) => rows.double(value),
        CellRef::Text(text) => match rows.text(|out| copy(text, out)) {
            Ok(()) => {}
        },
        CellRef::Bytes(bytes) => match rows.binary(|out| copy(bytes, out)) {
            Ok(()) => {}
        },
    }
}
