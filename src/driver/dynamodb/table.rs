//! What a table is: its key, its size, and what it may be asked for in a second.

use crate::limit::budget::Capacity;
use aws_sdk_dynamodb::types;

/// A table, as DescribeTable gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDescription {
    /// Its name.
    pub name: String,
    /// Its ARN; empty where a server gives none.
    pub arn: String,
    /// The id by which a table deleted and made again differs; empty where a server gives none.
    pub id: String,
    /// Whether it can be read and written: active, or being altered.
    pub active: bool,
    /// Key attributes, the partition key first, with their types `S`, `N` or `B`.
    pub key: Vec<(String, char)>,
    /// Its size, some hours old: for estimates only.
    pub bytes: u64,
    /// How many items, some hours old: for estimates only.
    pub items: u64,
    /// What may be read.
    pub read: Capacity,
    /// What may be written.
    pub write: Capacity,
    /// Its global indexes.
    pub indexes: Vec<IndexDescription>,
    /// Bytes of its local indexes, some hours old.
    pub local_index_bytes: u64,
    /// Whether it is billed by the request. A table without a billing mode is provisioned.
    pub on_demand: bool,
    /// What its stream shows of a change (`NEW_AND_OLD_IMAGES`, say); none without a stream.
    pub stream_view: Option<String>,
    /// The ARN of its latest stream, which may have ended; another one each time that the stream is switched on.
    pub stream_arn: Option<String>,
}

impl TableDescription {
    /// What differs when the table was deleted and made again: its id, or its ARN where a server gives none.
    #[must_use]
    pub fn identity(&self) -> String {
        if self.id.is_empty() { self.arn.clone() } else { self.id.clone() }
    }
}

/// A global index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexDescription {
    /// Its name.
    pub name: String,
    /// Its key attributes.
    pub key: Vec<String>,
    /// What may be written to it.
    pub write: Capacity,
}

/// Converts an answer; none of its figures can be more than an estimate or a limit, so what is absent is zero or none.
pub(super) fn describe(table: &types::TableDescription) -> TableDescription {
    let provisioned = table.provisioned_throughput();
    let maximum = table.on_demand_throughput();
    let warm = table.warm_throughput();
    TableDescription {
        name: table.table_name().unwrap_or_default().to_owned(),
        arn: table.table_arn().unwrap_or_default().to_owned(),
        id: table.table_id().unwrap_or_default().to_owned(),
        active: matches!(table.table_status(), Some(types::TableStatus::Active | types::TableStatus::Updating)),
        key: key(table),
        bytes: table.table_size_bytes().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
        items: table.item_count().and_then(|items| items.try_into().ok()).unwrap_or(0),
        read: Capacity {
            provisioned: units(provisioned.and_then(types::ProvisionedThroughputDescription::read_capacity_units)),
            on_demand_max: units(maximum.and_then(types::OnDemandThroughput::max_read_request_units)),
            warm: units(warm.and_then(types::TableWarmThroughputDescription::read_units_per_second)),
        },
        write: Capacity {
            provisioned: units(provisioned.and_then(types::ProvisionedThroughputDescription::write_capacity_units)),
            on_demand_max: units(maximum.and_then(types::OnDemandThroughput::max_write_request_units)),
            warm: units(warm.and_then(types::TableWarmThroughputDescription::write_units_per_second)),
        },
        indexes: table.global_secondary_indexes().iter().map(index).collect(),
        local_index_bytes: table
            .local_secondary_indexes()
            .iter()
            .filter_map(|index| index.index_size_bytes().and_then(|bytes| u64::try_from(bytes).ok()))
            .sum(),
        on_demand: table.billing_mode_summary().and_then(|summary| summary.billing_mode())
            == Some(&types::BillingMode::PayPerRequest),
        stream_view: table
            .stream_specification()
            .filter(|stream| stream.stream_enabled())
            .map(|stream| stream.stream_view_type().map_or_else(String::new, |view| view.as_str().to_owned())),
        stream_arn: table.latest_stream_arn().map(str::to_owned),
    }
}

fn key(table: &types::TableDescription) -> Vec<(String, char)> {
    let mut schema: Vec<&types::KeySchemaElement> = table.key_schema().iter().collect();
    schema.sort_by_key(|element| *element.key_type() != types::KeyType::Hash);
    let kind = |name: &str| {
        let found = table.attribute_definitions().iter().find(|attribute| attribute.attribute_name() == name);
        found.and_then(|attribute| attribute.attribute_type().as_str().chars().next()).unwrap_or('?')
    };
    schema.iter().map(|element| (element.attribute_name().to_owned(), kind(element.attribute_name()))).collect()
}

fn index(index: &types::GlobalSecondaryIndexDescription) -> IndexDescription {
    let provisioned = index.provisioned_throughput();
    let warm = index.warm_throughput();
    IndexDescription {
        name: index.index_name().unwrap_or_default().to_owned(),
        key: index.key_schema().iter().map(|element| element.attribute_name().to_owned()).collect(),
        write: Capacity {
            provisioned: units(provisioned.and_then(types::ProvisionedThroughputDescription::write_capacity_units)),
            on_demand_max: units(
                index.on_demand_throughput().and_then(types::OnDemandThroughput::max_write_request_units),
            ),
            warm: units(warm.and_then(types::GlobalSecondaryIndexWarmThroughputDescription::write_units_per_second)),
        },
    }
}

/// Units that are a limit: on-demand tables say 0 provisioned units, and -1 for no maximum.
fn units(units: Option<i64>) -> Option<f64> {
    units.filter(|units| *units > 0).and_then(|units| u32::try_from(units).ok()).map(f64::from)
}
