//! Whether a world went well: while it lasts, both stores agree on every key that no write is on record of; in the end all is
//! mended, what was answered can be explained, and both stores hold the same.

use super::world::{QUIET, TABLE, World, key};
use crate::dual_simulation::calls::value_of;
use crate::support::canon;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use transvase::checkpoint::run::{Checkpoint, RunState};
use transvase::dual::stores::{Items, Rows, Transaction};
use transvase::error::Result;

/// How long all may take to be mended: on a machine that does anything at all it is seconds.
const MENDED: Duration = Duration::from_secs(300);

/// The copy's units, open and all; none when it was not begun.
pub(super) async fn units(world: &World) -> Result<Option<(u64, u64)>> {
    let Some(mut run) = Checkpoint::existing(Arc::clone(&world.pool), TABLE).await? else { return Ok(None) };
    let Some((_, state)) = run.load().await? else { return Ok(None) };
    let open = if state == RunState::Complete { 0 } else { run.open_units().await?.max(1) };
    Ok(Some((open, run.unit_names().await?.len() as u64)))
}

async fn is_copied(world: &World) -> Result<bool> {
    Ok(matches!(units(world).await?, Some((0, _))))
}

/// Looks at keys as long as the world lasts.
pub(super) async fn audit(world: Arc<World>) {
    loop {
        tokio::time::sleep(world.chance.millis(50..300)).await;
        let number = world.some_key();
        // a look that fails is made again
        if let Ok(Some(wrong)) = look(&world, number).await {
            world.tell(|| wrong.clone());
            world.seen.lock().unwrap().get_or_insert(wrong);
        }
    }
}

/// What is wrong with a key. It is settled under the guard, which this has; and what a writer has sent that has not settled is on
/// record since before it was sent.
async fn look(world: &World, number: usize) -> Result<Option<String>> {
    let (key, is_copied) = (key(number), is_copied(world).await?);
    let mut transaction = world.rows.begin().await?;
    transaction.guard(&key).await?;
    let step = transaction.prove().await?.map_or(0, |phase| phase.step);
    let row = transaction.row(&key).await?.as_ref().map(value_of);
    let item = world.table.read(&key).await?.as_ref().map(value_of);
    let is_pending = transaction.pending(&key).await?;
    transaction.commit().await?;
    world.figures.looks.fetch_add(1, Ordering::Relaxed);
    let is_right = match step {
        1 | 7 => true,
        2..=4 if !is_copied => row.is_none() || row == item,
        _ => row == item,
    };
    Ok((!is_right && !is_pending).then(|| {
        format!("key {number}: in step {step} the table has {item:?}, the database {row:?}, and no write is on record")
    }))
}

/// Waits until nothing is under way and nothing is on record; what went wrong when that takes too long.
pub(super) async fn all_is_mended(world: &World) -> Option<String> {
    let began = Instant::now();
    loop {
        // in this order: whoever asks for nothing any more puts nothing on record
        let quiet = world.is_quiet();
        let step = world.step().await;
        let open = world.phases().unsettled().await.unwrap();
        if world.is_stalled() || quiet && (open == Some(0) || step == 1 || step == 7) {
            return None;
        }
        if began.elapsed() > MENDED {
            return Some(format!("step {step}: {open:?} writes are on record after {MENDED:?}, all is quiet: {quiet}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What should not be, when all has come to rest.
pub(super) async fn judge(world: &World) -> Option<String> {
    if let Some(seen) = world.seen.lock().unwrap().take() {
        return Some(seen);
    }
    let faults = world.phases().faults().await.unwrap();
    if !faults.is_empty() {
        return Some(format!("faults are on record: {faults:?}"));
    }
    let step = world.step().await;
    for number in 0..world.keys {
        let item = match step {
            ..=4 => world.table.read(&key(number)).await.unwrap(),
            _ => world.rows.row(&key(number)).await.unwrap(),
        };
        world.history.see("the end", number, item.as_ref().map(value_of), world.now());
    }
    if let Some(contradiction) = world.history.contradiction(world.keys) {
        return Some(contradiction);
    }
    differs(world, step, is_copied(world).await.unwrap()).await
}

/// Where the stores differ in the end, and should not.
async fn differs(world: &World, step: u8, is_copied: bool) -> Option<String> {
    if step == 1 || step == 7 {
        return None;
    }
    let id = |item: &Json| item["pk"]["S"].as_str().unwrap().to_owned();
    let source: BTreeMap<String, Json> = world.server.items(TABLE).into_iter().map(|item| (id(&item), item)).collect();
    let query = format!("SELECT CAST(item AS CHAR) FROM {TABLE}");
    let place = world.place.clone();
    let rows = tokio::task::spawn_blocking(move || place.query(&query)).await.unwrap();
    let rows = rows.into_iter().map(|row| canon::item(&serde_json::from_slice(row[0].as_ref().unwrap()).unwrap()));
    let target: BTreeMap<String, Json> = rows.map(|item| (id(&item), item)).collect();
    let quiet = QUIET.0..QUIET.0 + QUIET.1;
    let wrong = (0..world.keys).chain(quiet).map(|number| number.to_string()).find(|number| {
        let (source, target) = (source.get(number), target.get(number));
        source != target && (is_copied || step > 4 || target.is_some())
    });
    wrong.map(|number| {
        let value = |item: Option<&Json>| item.map(|item| item["v"]["N"].to_string());
        let sides = (value(source.get(&number)), value(target.get(&number)));
        format!("key {number}: in the end, in step {step}, the table and the database have {sides:?}")
    })
}
