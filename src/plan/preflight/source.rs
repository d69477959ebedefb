//! The live table: what it is, what these credentials may do with it, and which safety nets it has. Permissions are tried,
//! since no policy can be read off as reliably.

use super::{fail, pass, warn};
use crate::driver::dynamodb::{Backups, DynamoDb, Refusal, RefusalKind, ScanCall, TableDescription};
use crate::limit::budget::{Budget, Direction};
use crate::limit::retry::Backoff;
use crate::plan::estimate::{Estimate, RETENTION_HOURS, Way, duration};
use crate::plan::{Check, Verdict};

/// A copy that takes more than such a share of what a stream keeps leaves little room for a night that goes wrong.
const RETENTION_SHARE: f64 = 0.5;

/// How often an answer that may come the next time is waited for: a preflight is not worth a minute of silence.
const TRIES_MAX: u32 = 5;

/// Looks at a live table. `budget` is what of its read capacity may be used.
pub async fn source(
    db: &DynamoDb,
    table: &TableDescription,
    budget: Budget,
    estimate: Option<&Estimate>,
) -> Vec<Check> {
    let mut checks = vec![state(table), capacity(table, budget)];
    checks.push(scan(db, &table.name).await);
    checks.push(get(db, table).await);
    let exported = estimate.and_then(|estimate| estimate.recommended.as_ref()).is_some_and(|by| by.way == Way::Export);
    checks.push(recovery(table, db.backups(&table.name).await, exported));
    checks.push(exports(db, table, exported).await);
    checks.push(stream(table));
    checks.extend(estimate.and_then(retention));
    checks.push(expiry(db.time_to_live(&table.name).await));
    checks
}

fn state(table: &TableDescription) -> Check {
    let key: Vec<String> = table.key.iter().map(|(name, ty)| format!("{name}:{ty}")).collect();
    let finding = format!("{} with the key {}, about {} items", table.name, key.join(","), table.items);
    if table.active {
        pass("table", finding)
    } else {
        fail("table", format!("{finding}, is being created or deleted"), "wait until it is active")
    }
}

fn capacity(table: &TableDescription, budget: Budget) -> Check {
    let billed = if table.on_demand { "billed by the request" } else { "provisioned" };
    match budget.allow(&table.read, None, Direction::Read) {
        Ok(allowance) => pass("read capacity", format!("{billed}; the budget is {}", allowance.why)),
        Err(error) => fail("read capacity", billed, error.to_string()),
    }
}

async fn scan(db: &DynamoDb, table: &str) -> Check {
    let call = ScanCall { table, segment: 0, segments: 1, after: None, limit: Some(1), consistent: false };
    permission("dynamodb:Scan", again(async || db.scan(&call).await.map(drop)).await, Verdict::Fail)
}

/// Asks for an item of an invented key: whether it is there does not matter.
async fn get(db: &DynamoDb, table: &TableDescription) -> Check {
    let attribute = |(name, ty): &(String, char)| {
        let value = match ty {
            'N' => "0.000000000000000000000000000000000000017",
            'B' => "dHJhbnN2YXNlIHByZWZsaWdodA==",
            _ => "transvase preflight",
        };
        format!("{}:{{\"{ty}\":\"{value}\"}}", serde_json::Value::from(name.as_str()))
    };
    let key: Vec<String> = table.key.iter().map(attribute).collect();
    let key = format!("{{{}}}", key.join(","));
    let answer = again(async || db.get(&table.name, key.as_bytes()).await.map(drop)).await;
    permission("dynamodb:GetItem", answer, Verdict::Warn)
}

/// Repeats what may come through the next time.
async fn again(call: impl AsyncFn() -> std::result::Result<(), Refusal>) -> std::result::Result<(), Refusal> {
    let mut waits = Backoff::contention(1);
    for _ in 1..TRIES_MAX {
        match call().await {
            Err(Refusal { kind: RefusalKind::Unknown | RefusalKind::Throttled(_), .. }) => {}
            other => return other,
        }
        tokio::time::sleep(waits.wait().unwrap_or_default()).await;
    }
    call().await
}

/// Whether a call was let through; `missing` is the verdict when it was not.
fn permission(action: &str, answer: std::result::Result<(), Refusal>, missing: Verdict) -> Check {
    let name = format!("permission {action}");
    match answer {
        Ok(()) => pass(&name, "tried and granted"),
        Err(refusal) if refusal.kind == RefusalKind::Denied => {
            super::check(&name, missing, "tried and denied", refusal.message)
        }
        Err(refusal) => warn(&name, refusal.message, "try again"),
    }
}

fn recovery(table: &TableDescription, answer: std::result::Result<Backups, Refusal>, exported: bool) -> Check {
    const NAME: &str = "point-in-time recovery";
    let turn_on = format!(
        "aws dynamodb update-continuous-backups --table-name {} --point-in-time-recovery-specification \
         PointInTimeRecoveryEnabled=true",
        table.name
    );
    match answer {
        Ok(Backups { point_in_time: true, .. }) => pass(NAME, "on: the table can be exported"),
        Ok(_) if exported => fail(NAME, "off, and an export, which is recommended, needs it", turn_on),
        Ok(_) => warn(NAME, "off: the table cannot be exported, nor brought back after a mistake", turn_on),
        Err(refusal) => unknown(NAME, refusal),
    }
}

async fn exports(db: &DynamoDb, table: &TableDescription, exported: bool) -> Check {
    const NAME: &str = "permission dynamodb:DescribeExport";
    let missing = if exported { Verdict::Fail } else { Verdict::Warn };
    // An export that cannot be there: who may ask hears so.
    let invented = format!("{}/export/00000000000000-00000000", table.arn);
    match db.describe_export(&invented).await {
        Err(refusal) if refusal.code == "ExportNotFoundException" => pass(NAME, "tried and granted"),
        Err(refusal) if refusal.kind == RefusalKind::Denied => {
            permission("dynamodb:DescribeExport", Err(refusal), missing)
        }
        Err(refusal) => unknown(NAME, refusal),
        Ok(_) => pass(NAME, "tried and granted"),
    }
}

fn stream(table: &TableDescription) -> Check {
    const NAME: &str = "stream";
    let turn_on = format!(
        "before the copy begins, if the application goes on writing: aws dynamodb update-table --table-name {} \
         --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        table.name
    );
    match table.stream_view.as_deref() {
        Some(view @ ("NEW_IMAGE" | "NEW_AND_OLD_IMAGES")) => pass(NAME, format!("on, with {view}")),
        Some(view) => warn(NAME, format!("on, but {view} does not show what an item became"), turn_on),
        None => warn(NAME, "off: what is written during the copy can be told by nobody", turn_on),
    }
}

/// The way that is recommended, against the time for which a stream keeps changes.
fn retention(estimate: &Estimate) -> Option<Check> {
    const NAME: &str = "stream retention";
    let exported = estimate.recommended.as_ref().is_some_and(|by| by.way == Way::Export);
    let scan = estimate.scan.as_ref().map(|scan| scan.hours).filter(|_| !exported);
    let hours = scan.or_else(|| estimate.export.as_ref().map(|export| export.hours))?;
    let finding = format!("the copy takes about {}, a stream keeps {RETENTION_HOURS:.0} h", duration(hours));
    if hours <= RETENTION_HOURS * RETENTION_SHARE {
        return Some(pass(NAME, finding));
    }
    let step =
        "raise --read-capacity, or export the table: incremental exports reach back as far as point-in-time recovery";
    Some(warn(NAME, finding, step))
}

fn expiry(answer: std::result::Result<Option<String>, Refusal>) -> Check {
    const NAME: &str = "time to live";
    match answer {
        Ok(None) => pass(NAME, "off"),
        Ok(Some(attribute)) => warn(
            NAME,
            format!("items expire by {attribute}: some that are dead already are copied, others die afterwards"),
            "delete expired rows in the target by the same attribute",
        ),
        Err(refusal) => unknown(NAME, refusal),
    }
}

/// What could not be asked: a server that imitates DynamoDB does not know every call.
fn unknown(name: &str, refusal: Refusal) -> Check {
    let step = match refusal.kind {
        RefusalKind::Denied => "grant the permission, or look yourself",
        _ => "look yourself",
    };
    warn(name, format!("not known: {}", refusal.message), step)
}
