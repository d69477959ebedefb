//! The target table before the first write: is it there, does it take the mapping's key, was it empty.

use crate::checkpoint::run::TargetTable;
use crate::driver::dynamodb::{DynamoDb, Refusal, RefusalKind, ScanCall, TableDescription};
use crate::error::{Error, Result};
use crate::limit::retry::Backoff;
use crate::mapping::{KeyAttribute, KeyType};
use crate::sink::inspect::Inspected;

/// Describes the table and looks whether it holds an item.
///
/// # Errors
/// `Config` when it is not there, not ready, or has another key than the mapping gives.
pub async fn inspect(db: &DynamoDb, table: &str, key: &[KeyAttribute]) -> Result<Inspected> {
    let description = db.describe(table).await?;
    if !description.active {
        return Err(Error::config(format!(
            "table {table} is being created or deleted: wait until it is active, then run the same command again"
        )));
    }
    let found = key_of(&description)?;
    if found != key {
        return Err(Error::config(format!(
            "table {table} has the key {}, the mapping gives {}: name another table, or mend --key or the mapping's \
             target_key",
            spelled(&found),
            spelled(key)
        )));
    }
    let (empty_at_start, warnings) = emptiness(db, table).await?;
    let tables = vec![TargetTable { name: table.to_owned(), identity: description.identity(), empty_at_start }];
    Ok(Inspected { tables, warnings })
}

/// The key schema as a mapping has it.
///
/// # Errors
/// `Internal` for a type that no key has.
pub fn key_of(description: &TableDescription) -> Result<Vec<KeyAttribute>> {
    let attribute = |(name, ty): &(String, char)| {
        let ty = match ty {
            'S' => KeyType::S,
            'N' => KeyType::N,
            'B' => KeyType::B,
            _ => return Err(Error::internal(format!("key attribute {name} of {} has type {ty}", description.name))),
        };
        Ok(KeyAttribute { name: name.clone(), ty })
    };
    description.key.iter().map(attribute).collect()
}

/// Whether the table holds no item, and what to say about not knowing: the count of the description is hours old.
async fn emptiness(db: &DynamoDb, table: &str) -> Result<(bool, Vec<String>)> {
    let call = ScanCall { table, segment: 0, segments: 1, after: None, limit: Some(1), consistent: true };
    let mut waits = Backoff::contention(1);
    let answer = loop {
        let answer = db.scan(&call).await;
        let again = matches!(&answer, Err(Refusal { kind: RefusalKind::Unknown | RefusalKind::Throttled(_), .. }));
        match waits.wait().filter(|_| again) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => break answer,
        }
    };
    match answer {
        Ok(scanned) => Ok((scanned.items == 0 && scanned.next.is_none(), Vec::new())),
        Err(refusal) if matches!(refusal.kind, RefusalKind::Denied) => {
            let warning = format!(
                "table {table} may not be scanned, so it is not known whether it was empty: items found there are \
                 taken for the application's own"
            );
            Ok((false, vec![warning]))
        }
        Err(refusal) => Err(Error::config(format!("looking into table {table}: {}", refusal.message))),
    }
}

fn spelled(key: &[KeyAttribute]) -> String {
    key.iter().map(|attribute| format!("{}:{}", attribute.name, attribute.ty.tag())).collect::<Vec<_>>().join(",")
}
