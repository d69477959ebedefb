//! What a request was charged: `ConsumedCapacity`, small and parsed as usual. Units are floats by nature: halves occur.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The capacity a request consumed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Charged {
    /// Units of the table itself, its local indexes included, for those draw on the table's capacity.
    pub units: f64,
    /// Units of each global index, by name: an index has a capacity of its own. Known of writes only.
    pub indexes: Vec<(String, f64)>,
}

impl Charged {
    /// All units: what is paid for.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.units + self.indexes.iter().map(|(_, units)| units).sum::<f64>()
    }
}

/// One table's entry, as the server writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Consumed {
    #[serde(default)]
    capacity_units: f64,
    #[serde(default)]
    global_secondary_indexes: Option<BTreeMap<String, Units>>,
}

#[derive(Deserialize)]
struct Units {
    #[serde(rename = "CapacityUnits", default)]
    units: f64,
}

impl From<Consumed> for Charged {
    fn from(consumed: Consumed) -> Charged {
        let indexes: Vec<(String, f64)> = consumed
            .global_secondary_indexes
            .unwrap_or_default()
            .into_iter()
            .map(|(name, index)| (name, index.units))
            .collect();
        let of_indexes: f64 = indexes.iter().map(|(_, units)| units).sum();
        Charged { units: (consumed.capacity_units - of_indexes).max(0.0), indexes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_told_from_their_table() {
        let text = r#"{"TableName":"t","CapacityUnits":7.0,"Table":{"CapacityUnits":2.0},
            "LocalSecondaryIndexes":{"l":{"CapacityUnits":1.0}},
            "GlobalSecondaryIndexes":{"a":{"CapacityUnits":3.0},"b":{"CapacityUnits":1.0}}}"#;
        let charged = Charged::from(serde_json::from_str::<Consumed>(text).unwrap());
        assert_eq!(charged, Charged { units: 3.0, indexes: vec![("a".into(), 3.0), ("b".into(), 1.0)] });
        assert_eq!(charged.total(), 7.0);
        let charged = Charged::from(serde_json::from_str::<Consumed>(r#"{"CapacityUnits":128.5}"#).unwrap());
        assert_eq!((charged.units, charged.total()), (128.5, 128.5));
    }
}
