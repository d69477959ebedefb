//! Why the server refused for lack of capacity: DynamoDB's sixteen throttling reasons, each with what it is about.
//!
//! A reason decides who slows down: a key range only the segment that met it, an index the writes that feed it, the
//! table or the account everybody.

use std::fmt;

/// What ran out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The table's provisioned capacity.
    TableProvisioned,
    /// The on-demand maximum that somebody set on the table.
    TableOnDemandMax,
    /// The account's quota, met by this table.
    TableAccount,
    /// One partition of the table.
    TableKeyRange,
    /// The provisioned capacity of the index named.
    IndexProvisioned(String),
    /// The on-demand maximum of the index named.
    IndexOnDemandMax(String),
    /// The account's quota, met by the index named.
    IndexAccount(String),
    /// One partition of the index named.
    IndexKeyRange(String),
    /// The server did not say: an older endpoint, an emulator, or items handed back as unprocessed.
    Unstated,
}

/// One reason of a refused request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ThrottleReason {
    /// What ran out.
    pub what: What,
    /// Whether writes ran out of it, or else reads.
    pub write: bool,
}

impl ThrottleReason {
    /// Reads one entry of `ThrottlingReasons`: `reason` such as `TableReadKeyRangeThroughputExceeded`, `resource` the ARN
    /// of a table or of an index. What is not among the sixteen is [`What::Unstated`].
    #[must_use]
    pub fn parse(reason: &str, resource: &str) -> ThrottleReason {
        let index = || resource.rsplit_once("/index/").map_or(String::new(), |(_, name)| name.to_string());
        let (of_index, rest) = match (reason.strip_prefix("Table"), reason.strip_prefix("Index")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return ThrottleReason { what: What::Unstated, write: reason.contains("Write") },
        };
        let (write, rest) = match (rest.strip_prefix("Write"), rest.strip_prefix("Read")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return ThrottleReason { what: What::Unstated, write: false },
        };
        let what = match (rest, of_index) {
            ("ProvisionedThroughputExceeded", false) => What::TableProvisioned,
            ("ProvisionedThroughputExceeded", true) => What::IndexProvisioned(index()),
            ("MaxOnDemandThroughputExceeded", false) => What::TableOnDemandMax,
            ("MaxOnDemandThroughputExceeded", true) => What::IndexOnDemandMax(index()),
            ("AccountLimitExceeded", false) => What::TableAccount,
            ("AccountLimitExceeded", true) => What::IndexAccount(index()),
            ("KeyRangeThroughputExceeded", false) => What::TableKeyRange,
            ("KeyRangeThroughputExceeded", true) => What::IndexKeyRange(index()),
            _ => What::Unstated,
        };
        ThrottleReason { what, write }
    }

    /// A refusal without a reason.
    #[must_use]
    pub fn unstated(write: bool) -> ThrottleReason {
        ThrottleReason { what: What::Unstated, write }
    }

    /// Whether only the segment or lane of keys that met it has to slow down.
    #[must_use]
    pub fn is_key_range(&self) -> bool {
        matches!(self.what, What::TableKeyRange | What::IndexKeyRange(_))
    }
}

impl fmt::Display for ThrottleReason {
    /// As it stands on the progress line: `index by-date: provisioned write capacity`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.write { "write" } else { "read" };
        match &self.what {
            What::TableProvisioned => write!(f, "the table's provisioned {direction} capacity"),
            What::TableOnDemandMax => write!(f, "the table's on-demand {direction} maximum"),
            What::TableAccount => write!(f, "the account's {direction} quota"),
            What::TableKeyRange => write!(f, "one partition's {direction} limit"),
            What::IndexProvisioned(name) => write!(f, "index {name}: provisioned {direction} capacity"),
            What::IndexOnDemandMax(name) => write!(f, "index {name}: on-demand {direction} maximum"),
            What::IndexAccount(name) => write!(f, "index {name}: the account's {direction} quota"),
            What::IndexKeyRange(name) => write!(f, "index {name}: one partition's {direction} limit"),
            What::Unstated => write!(f, "{direction} throttles without a reason"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders";
    const INDEX: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/index/by-date";

    #[test]
    fn all_sixteen_reasons_are_told_apart() {
        let mut seen = std::collections::BTreeSet::new();
        for (of, arn) in [("Table", TABLE), ("Index", INDEX)] {
            for direction in ["Read", "Write"] {
                for kind in [
                    "ProvisionedThroughputExceeded",
                    "AccountLimitExceeded",
                    "KeyRangeThroughputExceeded",
                    "MaxOnDemandThroughputExceeded",
                ] {
                    let reason = ThrottleReason::parse(&format!("{of}{direction}{kind}"), arn);
                    assert_ne!(reason.what, What::Unstated, "{of}{direction}{kind}");
                    assert_eq!(reason.write, direction == "Write");
                    assert_eq!(reason.is_key_range(), kind.starts_with("KeyRange"));
                    assert_eq!(reason.to_string().contains("by-date"), of == "Index", "{reason}");
                    seen.insert(reason);
                }
            }
        }
        assert_eq!(seen.len(), 16);
    }

    #[test]
    fn the_index_is_named_by_the_end_of_its_arn() {
        let reason = ThrottleReason::parse("IndexWriteProvisionedThroughputExceeded", INDEX);
        assert_eq!(reason.what, What::IndexProvisioned("by-date".to_string()));
        assert_eq!(reason.to_string(), "index by-date: provisioned write capacity");
    }

    #[test]
    fn what_is_not_among_the_sixteen_is_unstated_and_no_error() {
        for reason in ["", "Table", "TableRead", "TableReadSomethingNew", "IndexProvisionedThroughputExceeded", "é"] {
            assert_eq!(ThrottleReason::parse(reason, "").what, What::Unstated, "{reason}");
        }
        assert!(ThrottleReason::parse("SomethingWriteNew", TABLE).write);
    }
}
