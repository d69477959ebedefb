//! The flow: readers → queue → transform → sink, with the ledger deciding what is left. The only room with tasks,
//! threads, channels and permits.
//!
//! Start order: transform threads, the lease, lanes, readers, the lease's heartbeat. A *reader* is a thread that claims
//! units and pushes their pages, of whichever needs it most. A *lane* is a task that takes one page at a time from the queue to its commit; there
//! are as many as workers and writers together, so both stay busy. Stop order: readers end when nothing is left to read,
//! or when a stop is requested; then the queue closes, the lanes drain it (of a stop: finish the pages they carry and
//! drop those that wait), and the claims are released. The first fatal error cancels everybody.

pub mod changes;
pub mod clustered;
pub mod lane;
pub mod load;
pub mod queue;
pub mod reader;
pub mod reject;
pub mod sort;
pub mod transform;
pub mod work;

use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::monitor::{Event, Monitor};
use crate::sink::Sink;
use crate::source::Source;
use queue::{Budget, WorkQueue};
use sort::Sorter;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transform::Transform;
use work::Work;

/// How wide the pipeline is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes in flight, encoded batches included.
    pub memory_bytes: usize,
    /// Pages read at once.
    pub readers: usize,
    /// Units open at once: of a data file no more than readers, of a live table many, so that the neediest can be chosen.
    pub open_units: usize,
    /// Threads that decode and map.
    pub workers: usize,
    /// Transactions at once.
    pub writers: usize,
    /// Bytes of lines in a page; the budget's unit.
    pub page_bytes: usize,
    /// The shuffle's seed.
    pub seed: u64,
    /// How long a silent process keeps its units.
    pub lease: Duration,
    /// Rejects after which the run stops.
    pub max_rejects: MaxRejects,
}

/// How many rejects a run may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxRejects {
    /// So many.
    Count(u64),
    /// So many of a million items read, once [`MaxRejects::SAMPLE`] were.
    PerMillion(u64),
}

impl MaxRejects {
    /// Items read before a share means something.
    pub const SAMPLE: u64 = 10_000;

    /// Whether `rejected` of `read` items are too many.
    #[must_use]
    pub fn exceeded(self, rejected: u64, read: u64) -> bool {
        match self {
            MaxRejects::Count(limit) => rejected > limit,
            MaxRejects::PerMillion(share) => {
                read >= MaxRejects::SAMPLE && u128::from(rejected) * 1_000_000 > u128::from(share) * u128::from(read)
            }
        }
    }
}

/// How the flow ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every unit of the run is durable.
    Drained,
    /// A stop was requested: what is durable stays, the rest is for the next time.
    Stopped,
    /// Some units could not be read; the others are durable. Their names and reasons.
    UnitsFailed(Vec<String>),
}

/// Where a flow's batches go.
pub enum Outlet {
    /// Into the target, a transaction each.
    Target(Arc<dyn Sink>),
    /// Into sorted runs, which are loaded later.
    Runs(Sorter),
}

/// Everything that flows through a run: what every part shares.
pub struct Flow {
    /// The source.
    pub source: Arc<dyn Source>,
    /// Where batches go.
    pub outlet: Outlet,
    /// What is durable and who owns what.
    pub work: Work,
    /// The pages that wait.
    pub queue: WorkQueue,
    /// The bytes in flight.
    pub budget: Arc<Budget>,
    /// The worker threads.
    pub transform: Transform,
    /// Who watches.
    pub monitor: Arc<dyn Monitor>,
    /// How wide it is.
    pub options: Options,
    /// A stop was requested by the operator.
    pub stop: CancellationToken,
}

impl Flow {
    /// Puts the parts together; nothing runs yet.
    ///
    /// # Errors
    /// When the worker threads cannot be started.
    pub fn new(
        source: Arc<dyn Source>,
        mapping: &Arc<Mapping>,
        outlet: Outlet,
        work: Work,
        options: Options,
        stop: CancellationToken,
    ) -> Result<Arc<Self>> {
        let narrow = match &outlet {
            Outlet::Runs(sorter) => sorter.narrow(),
            Outlet::Target(_) => None,
        };
        Ok(Arc::new(Flow {
            transform: Transform::new(Arc::clone(mapping), options.workers, narrow, source.description().changes)?,
            queue: WorkQueue::new(options.seed),
            budget: Budget::new(options.memory_bytes),
            monitor: work.monitor(),
            source,
            outlet,
            work,
            options,
            stop,
        }))
    }

    /// So many processes work on the run: each takes an equal part of what may be used of a table.
    fn share_among(&self, processes: u64) {
        let processes = u32::try_from(processes).unwrap_or(u32::MAX);
        self.source.share_among(processes);
        if let Outlet::Target(sink) = &self.outlet {
            sink.share_among(processes);
        }
        self.monitor.event(&Event::Shared { processes });
    }
}

/// Runs the flow until it ends.
///
/// # Errors
/// The first fatal error, after everybody has stopped.
pub async fn run(flow: Arc<Flow>) -> Result<Ended> {
    if let Outlet::Target(sink) = &flow.outlet {
        // nothing is written to a target that bears too much already
        flow.stop.run_until_cancelled(look(&**sink, &*flow.monitor)).await;
    }
    let processes = flow.work.heartbeat(flow.options.lease).await?;
    flow.share_among(processes);
    let lanes: Vec<_> =
        (0..flow.options.workers + flow.options.writers).map(|_| tokio::spawn(lane::run(Arc::clone(&flow)))).collect();
    let handle = tokio::runtime::Handle::current();
    let reading = Arc::new(reader::Reading::new(flow.options.open_units));
    let readers: Vec<_> = (0..flow.options.readers)
        .map(|index| {
            let (flow, reading, handle) = (Arc::clone(&flow), Arc::clone(&reading), handle.clone());
            std::thread::Builder::new()
                .name(format!("reader-{index}"))
                .spawn(move || reader::run(&flow, &reading, &handle))
        })
        .collect();
    let beat = {
        let flow = Arc::clone(&flow);
        let lease = flow.options.lease;
        tokio::spawn(async move { keep_lease(&flow.work, lease, processes, |now| flow.share_among(now)).await })
    };
    let all_read = CancellationToken::new();
    let looking = tokio::spawn(look_after(Arc::clone(&flow), Arc::clone(&reading), all_read.clone()));
    let joined = tokio::task::spawn_blocking(move || {
        let mut sound = true;
        for reader in readers {
            sound &= reader.is_ok_and(|thread| thread.join().is_ok());
        }
        sound
    });
    if !joined.await.unwrap_or(false) {
        flow.work.fail(Error::internal("a reader thread died"));
    }
    flow.queue.close();
    for lane in lanes {
        if lane.await.is_err() {
            flow.work.fail(Error::internal("a lane died while writing a page"));
        }
    }
    all_read.cancel();
    if looking.await.is_err() {
        flow.work.fail(Error::internal("whoever looks after the batches died"));
    }
    if let Outlet::Runs(sorter) = &flow.outlet
        && let Err(error) = sorter.finish(&flow).await
    {
        flow.work.fail(error);
    }
    beat.abort();
    flow.work.end().await
}

/// How often the sink looks after its target.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Looks after whatever takes the batches, until all is read.
async fn look_after(flow: Arc<Flow>, reading: Arc<reader::Reading>, all_read: CancellationToken) {
    match &flow.outlet {
        Outlet::Target(sink) => {
            all_read.run_until_cancelled(tend(&**sink, &*flow.monitor)).await;
        }
        Outlet::Runs(sorter) => sorter.write_rests(&flow, &|| reading.is_dry(), &all_read).await,
    }
}

/// Has the sink look after its target, again and again.
async fn tend(sink: &dyn Sink, monitor: &dyn Monitor) {
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        look(sink, monitor).await;
    }
}

async fn look(sink: &dyn Sink, monitor: &dyn Monitor) {
    sink.tend().await;
    monitor.event(&Event::TargetLimited { by: sink.limited_by().as_deref() });
}

/// Extends the lease three times as often as it needs. `share` is told whenever another number of processes than `known`
/// works on the run.
async fn keep_lease(work: &Work, lease: Duration, mut known: u64, share: impl Fn(u64)) {
    loop {
        tokio::time::sleep(lease / 3).await;
        match work.heartbeat(lease).await {
            Ok(processes) if processes == known => {}
            Ok(processes) => {
                share(processes);
                known = processes;
            }
            Err(error) => {
                work.fail(error);
                return;
            }
        }
    }
}
