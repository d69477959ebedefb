//! The front for an application in Rust: a DynamoDB service, an SQL database, and instances that know what to do with both.
//!
//! ```no_run
//! # async fn run() -> transvase::error::Result<()> {
//! use transvase::driver::dynamodb::{DynamoDb, Endpoint, attributes};
//! use transvase::driver::target::{Target, Tls};
//! use transvase::dual::application::Application;
//! use transvase::dual::{Options, stores::Item};
//!
//! // `DynamoDb::with_config` takes the configuration that an application's own SDK client is made from
//! let service = DynamoDb::connect(&Endpoint::default()).await?;
//! let target = Target::parse("mysql://shop:secret@db.example/shop", Tls::Auto { ca: None })?;
//! let shop = Application::new(service, "orders", target).instance(Options::new("shop-1", &[])).await?;
//! let mut order = Item::new();
//! order.insert("order_id".into(), serde_json::json!({"S": "o-1"}));
//! shop.put(order.clone()).await?;
//! // as the SDK has it; `attributes::to_json` is the way back
//! let item = shop.get(&order).await?.as_ref().and_then(attributes::from_json);
//! # drop(item);
//! shop.close().await
//! # }
//! ```

use super::dynamodb::DynamoItems;
use super::mysql::{SqlOptions, SqlRows};
use super::{Instance, Options};
use crate::checkpoint::run::name_of;
use crate::driver::dynamodb::DynamoDb;
use crate::driver::target::Target;
use crate::error::Result;
use crate::mapping::Mapping;
use std::sync::Arc;

/// What the instances of an application have in common.
#[derive(Clone)]
pub struct Application {
    service: DynamoDb,
    table: String,
    target: Target,
    mapping: Option<Arc<Mapping>>,
    sessions: usize,
    create_tables: bool,
}

impl Application {
    /// An application of this DynamoDB table, which moves to `target` under its name, whole items in the column that a backfill
    /// without a mapping gives them.
    #[must_use]
    pub fn new(service: DynamoDb, table: &str, target: Target) -> Application {
        let sessions = SqlOptions::default().sessions;
        Application { service, table: table.to_owned(), target, mapping: None, sessions, create_tables: false }
    }

    /// The same, by the mapping that the backfill uses.
    #[must_use]
    pub fn mapped(self, mapping: Arc<Mapping>) -> Application {
        Application { mapping: Some(mapping), ..self }
    }

    /// The same, with so many transactions of an instance at once.
    #[must_use]
    pub fn sessions(self, sessions: usize) -> Application {
        Application { sessions, ..self }
    }

    /// The same, creating target tables that are missing: dual writes begin before a backfill does.
    #[must_use]
    pub fn create_tables(self) -> Application {
        Application { create_tables: true, ..self }
    }

    /// One of its instances; the key's attributes are the table's, whatever `options` says.
    ///
    /// # Errors
    /// `Config` when the table, the migration or the target's tables are not there, or the options do not go together; of both
    /// stores.
    pub async fn instance(&self, options: Options) -> Result<Instance<DynamoItems, SqlRows>> {
        let items = DynamoItems::open(self.service.clone(), &self.table, options.request).await?;
        let mapping = match &self.mapping {
            Some(mapping) => Arc::clone(mapping),
            None => Arc::new(Mapping::document(items.key(), &self.table, &[])?),
        };
        let sql = SqlOptions {
            sessions: self.sessions,
            request: options.request,
            idle: options.lease + options.request,
            create_tables: self.create_tables,
        };
        let rows = SqlRows::open(&self.target, &name_of(&self.table), mapping, sql).await?;
        let key = items.key().iter().map(|attribute| attribute.name.clone()).collect();
        Instance::open(items, rows, Options { key, ..options })
    }
}
