//! The application: some instances that put, update, delete and read orders, each over a pool and a lease of its own.
//!
//! Prints a line a second: writes acknowledged, and the longest that any instance went without one.

use crate::Run;
use crate::history::{Ended, History};
use crate::serve::{KEY, TABLE, id};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use transvase::driver::dynamodb::{DynamoDb, Endpoint};
use transvase::driver::target::{Target, Tls};
use transvase::dual::application::Application;
use transvase::dual::dynamodb::DynamoItems;
use transvase::dual::mysql::SqlRows;
use transvase::dual::stores::{Item, Written};
use transvase::dual::{Instance, Options};

/// All that instances share.
struct Shop {
    history: Mutex<History>,
    version: AtomicU64,
    over: AtomicBool,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// When each instance was last acknowledged a write, and its longest pause of this second.
    pulse: Vec<Mutex<(Instant, Duration)>>,
    run: Run,
}

type Shopper = Instance<DynamoItems, SqlRows>;

/// Runs it until it is to end, and compares.
///
/// # Errors
/// When an instance cannot be opened, or what is there is not what was acknowledged.
pub(crate) async fn run(run: Run) -> io::Result<()> {
    let service = DynamoDb::connect(&Endpoint { url: Some(run.endpoint_url.clone()), region: None }).await;
    let target = Target::parse(&run.to, Tls::Off).map_err(io::Error::other)?;
    let application = Application::new(service.map_err(io::Error::other)?, TABLE, target).create_tables();
    let now = Instant::now();
    let shop = Arc::new(Shop {
        history: Mutex::new(History::new(run.items)),
        version: AtomicU64::new(0),
        over: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        pulse: (0..run.instances).map(|_| Mutex::new((now, Duration::ZERO))).collect(),
        run: run.clone(),
    });
    let mut shoppers = Vec::new();
    for number in 0..run.instances {
        let options = Options { shadow: run.shadow, ..Options::new(&format!("shop-{number}"), &[]) };
        let shopper = Arc::new(application.instance(options).await.map_err(io::Error::other)?);
        let working = tokio::spawn(work(Arc::clone(&shop), Arc::clone(&shopper), number));
        shoppers.push((shopper, working));
    }
    watch(&shop).await?;
    shop.over.store(true, Ordering::SeqCst);
    let mut out = io::stdout();
    for (shopper, working) in &mut shoppers {
        working.await.map_err(io::Error::other)?;
        writeln!(out, "{}: {}", shopper.name(), json!(shopper.counts()))?;
    }
    let ended = compare(&shop, &shoppers[0].0).await;
    for (shopper, _) in &shoppers {
        shopper.close().await.map_err(io::Error::other)?;
    }
    ended
}

/// Prints what goes on, until the file is there.
async fn watch(shop: &Shop) -> io::Result<()> {
    let (began, mut before) = (Instant::now(), 0);
    while !shop.run.until.exists() {
        sleep(Duration::from_secs(1)).await;
        let done = shop.acknowledged.load(Ordering::SeqCst);
        let pause = shop.pulse.iter().map(longest).max().unwrap_or_default();
        writeln!(
            io::stdout(),
            "{:.0} s: {} writes, longest pause {} ms, {} not acknowledged",
            began.elapsed().as_secs_f64(),
            done - before,
            pause.as_millis(),
            shop.failed.load(Ordering::SeqCst)
        )?;
        before = done;
    }
    Ok(())
}

/// The longest pause since this was asked last, one that lasts included.
fn longest(pulse: &Mutex<(Instant, Duration)>) -> Duration {
    let mut pulse = pulse.lock().unwrap_or_else(PoisonError::into_inner);
    let longest = pulse.1.max(pulse.0.elapsed());
    pulse.1 = Duration::ZERO;
    longest
}

/// One instance's work. Half of its keys are its own, the others are everybody's.
async fn work(shop: Arc<Shop>, shopper: Arc<Shopper>, number: u64) {
    let (items, instances) = (shop.run.items, shop.run.instances);
    let mut rng = StdRng::seed_from_u64(number);
    while !shop.over.load(Ordering::SeqCst) {
        let any = rng.random_range(0..items);
        let key = if rng.random_bool(0.5) { any % 50 } else { any / instances * instances + number };
        write(&shop, &shopper, key, rng.random_range(0..10), number).await;
        if rng.random_bool(0.3) {
            // what a read answers is compared by the instance itself
            drop(shopper.get(&order(key, 0)).await);
        }
        sleep(Duration::from_millis(shop.run.pause)).await;
    }
}

fn order(key: u64, version: u64) -> Item {
    let mut order = Item::new();
    order.insert(KEY.to_owned(), json!({"S": id(key)}));
    order.insert("version".to_owned(), json!({"N": version.to_string()}));
    order
}

async fn write(shop: &Shop, shopper: &Shopper, key: u64, kind: u64, number: u64) {
    let version = shop.version.fetch_add(1, Ordering::SeqCst) + 1;
    let (order, began) = (order(key, version), Instant::now());
    let (written, version) = match kind {
        0 => (shopper.delete(&order).await.map(|()| Written::Done), None),
        1..3 => (shopper.update(order).await, Some(version)),
        _ => (shopper.put(order).await.map(|()| Written::Done), Some(version)),
    };
    let mut history = shop.history.lock().unwrap_or_else(PoisonError::into_inner);
    match written {
        Ok(Written::Done) => history.record(key, version, began, true),
        Ok(Written::Unmet) => {}
        Err(_) => {
            history.record(key, version, began, false);
            shop.failed.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
    drop(history);
    shop.acknowledged.fetch_add(1, Ordering::SeqCst);
    let pulse = shop.pulse.get(usize::try_from(number).unwrap_or(0));
    let Some(mut pulse) = pulse.map(|pulse| pulse.lock().unwrap_or_else(PoisonError::into_inner)) else { return };
    pulse.1 = pulse.1.max(pulse.0.elapsed());
    pulse.0 = Instant::now();
}

/// What is there, read as the application reads it, against what was acknowledged.
async fn compare(shop: &Shop, shopper: &Shopper) -> io::Result<()> {
    let keys = shop.history.lock().unwrap_or_else(PoisonError::into_inner).keys();
    let (mut all, mut lost, mut zombies) = (0_u64, 0_u64, 0_u64);
    for key in keys {
        let item = shopper.get(&order(key, 0)).await.map_err(io::Error::other)?;
        let version = |item: Item| item.get("version")?.get("N")?.as_str()?.parse::<u64>().ok();
        let there = item.and_then(version);
        let ended = shop.history.lock().unwrap_or_else(PoisonError::into_inner).ended(key, there);
        all += 1;
        lost += u64::from(ended == Ended::Lost);
        zombies += u64::from(ended == Ended::Zombie);
    }
    let acknowledged = shop.acknowledged.load(Ordering::SeqCst);
    writeln!(io::stdout(), "{all} keys after {acknowledged} acknowledged writes: {lost} lost, {zombies} zombies")?;
    if lost + zombies == 0 { Ok(()) } else { Err(io::Error::other("what is there is not what was acknowledged")) }
}
