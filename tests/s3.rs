//! An export read from S3 equals the same export read from its folder, whatever the network does.

use crate::support::proxy::{Faults, Proxy};
use crate::support::s3::{ACCESS_KEY, S3Server, SECRET_KEY, config};
use crate::support::small_export::SmallExport;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use transvase::driver::objects::{Objects, S3Bucket, S3Options};
use transvase::error::{ErrorKind, Result};
use transvase::model::page::{Unit, Wanted};
use transvase::source::dynamodb_export::{DynamoDbExport, ExportLocation, ExportOptions};
use transvase::source::{Read, Source};

const BUCKET: &str = "exports";

/// An export of about 12 MB in 4 files, in a bucket; the last file is too large to be spooled to memory.
struct World {
    root: tempfile::TempDir,
    spill: tempfile::TempDir,
    export: SmallExport,
    server: S3Server,
    runtime: Runtime,
}

impl World {
    fn new() -> World {
        let root = tempfile::tempdir().unwrap();
        let mut export = SmallExport::new(3, 300, 3000);
        export.files.push(SmallExport::new(1, 4500, 4000).files.remove(0));
        export.prefix = Some("daily".into());
        export.write(&root.path().join(BUCKET));
        let large = std::fs::metadata(root.path().join(BUCKET).join(export.data_key(3))).unwrap().len();
        assert!(large > 8 << 20, "the last file must not fit in memory: {large}");
        let server = S3Server::start(root.path());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        World { root, spill: tempfile::tempdir().unwrap(), export, server, runtime }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.root.path().join(BUCKET)
    }

    fn options(&self, address: SocketAddr) -> S3Options {
        S3Options {
            endpoint: Some(format!("http://{address}")),
            range_bytes: 1 << 20,
            // a busy machine is no stall
            idle_timeout: Duration::from_secs(60),
            first_wait: Duration::from_millis(10),
            ..S3Options::new(self.spill.path().to_owned())
        }
    }

    /// For what stalls.
    fn hasty(&self, address: SocketAddr) -> S3Options {
        S3Options { idle_timeout: Duration::from_secs(2), ..self.options(address) }
    }

    fn bucket(&self, options: S3Options) -> Objects {
        let shared = config(ACCESS_KEY, SECRET_KEY);
        Objects::S3(S3Bucket::with_config(self.runtime.handle().clone(), &shared, BUCKET, options))
    }

    fn open(&self, options: S3Options) -> Result<DynamoDbExport> {
        let key = self.folder().join("daily/AWSDynamoDB");
        let id = std::fs::read_dir(key).unwrap().next().unwrap().unwrap().file_name();
        let location = ExportLocation::find(&format!("s3://{BUCKET}/daily/AWSDynamoDB/{}", id.to_str().unwrap()))?;
        DynamoDbExport::open(&location, self.bucket(options), &ExportOptions::default())
    }

    fn local(&self) -> Vec<Vec<u8>> {
        let location = ExportLocation::find(self.folder().join("daily").to_str().unwrap()).unwrap();
        let ExportLocation::Folder { root, .. } = &location else { panic!("a folder") };
        let export = DynamoDbExport::open(&location, Objects::folder(root), &ExportOptions::default()).unwrap();
        read(&export).unwrap()
    }
}

/// The bytes of every unit; two are read at a time.
fn read(export: &DynamoDbExport) -> Result<Vec<Vec<u8>>> {
    let units = &export.description().units;
    let one = |at: usize| Ok((at, read_unit(export, &units[at])?));
    let some = |first: usize| (first..units.len()).step_by(2).map(one).collect::<Result<Vec<_>>>();
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| some(1));
        (some(0), odd.join().unwrap())
    });
    let mut all = [even?, odd?].concat();
    all.sort();
    Ok(all.into_iter().map(|(_, bytes)| bytes).collect())
}

fn read_unit(export: &DynamoDbExport, unit: &Unit) -> Result<Vec<u8>> {
    let wanted = Wanted { items: std::iter::once(0..unit.items.unwrap()).collect(), after: None };
    let mut reader = Source::open(export, unit.id, &wanted)?;
    let mut bytes = Vec::new();
    while let Read::Page(page) = reader.next(&CancellationToken::new())? {
        bytes.extend_from_slice(&page.bytes);
    }
    Ok(bytes)
}

fn spilled(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn an_export_in_s3_reads_as_in_its_folder() {
    let world = World::new();
    let export = world.open(world.options(world.server.address)).unwrap();
    assert!(read(&export).unwrap() == world.local());
    assert_eq!(export.usage().retries, 0);
    assert_eq!(spilled(world.spill.path()), 0);
}

#[test]
fn cut_stalled_and_refused_requests_change_nothing() {
    let world = World::new();
    let local = world.local();
    for (name, faults) in [
        ("cuts", Faults { cut: 1.0, ..Faults::default() }),
        ("stalls", Faults { stall: 0.6, ..Faults::default() }),
        ("refusals", Faults { refuse: 0.3, ..Faults::default() }),
        ("all", Faults { cut: 0.7, stall: 0.3, refuse: 0.2, ..Faults::default() }),
    ] {
        let proxy = Proxy::start(world.server.address, Faults { seed: 7, after: 0..700_000, ..faults.clone() });
        let injected = proxy.injected();
        let met =
            |share: f64, count: &std::sync::atomic::AtomicU64| (share > 0.0) == (count.load(Ordering::Relaxed) > 0);
        let mut retries = 0;
        // Which connection meets which fault is chance: read until each kind was met.
        for round in 0.. {
            assert!(round < 30, "{name}: {injected:?}");
            let export = world.open(world.hasty(proxy.address)).unwrap();
            assert!(read(&export).unwrap() == local, "{name}");
            retries += export.usage().retries;
            let all = met(faults.cut, &injected.cuts)
                && met(faults.stall, &injected.stalls)
                && met(faults.refuse, &injected.refusals);
            if all {
                break;
            }
        }
        assert!(retries > 0, "{name}");
        assert_eq!(spilled(world.spill.path()), 0);
    }
}

#[test]
fn a_server_that_never_recovers_is_given_up() {
    let world = World::new();
    let proxy = Proxy::start(world.server.address, Faults { refuse: 1.0, ..Faults::default() });
    let options = S3Options { attempts: 3, ..world.options(proxy.address) };
    let error = world.open(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("3 attempts failed"), "{error}");
    assert_eq!(proxy.injected().refusals.load(Ordering::Relaxed), 3);
    proxy.set(Faults::default());
    assert!(world.open(world.options(proxy.address)).is_ok());
}

#[test]
fn an_object_replaced_underway_is_read_anew_and_never_mixed() {
    let world = World::new();
    let local = world.local();
    let path = world.folder().join(world.export.data_key(3));
    let right = std::fs::read(&path).unwrap();
    // The first half, which arrives before the replacement, is as it should be: only the version tells.
    let mut wrong = right.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    std::fs::write(&path, &wrong).unwrap();
    let proxy = Proxy::start(world.server.address, Faults::default());
    let export = world.open(world.options(proxy.address)).unwrap();
    proxy.cut_all();
    proxy.set(Faults { stall: 1.0, after: 4_000_000..4_000_001, ..Faults::default() });
    let unit = &export.description().units[3];
    let bytes = std::thread::scope(|scope| {
        scope.spawn(|| {
            while proxy.injected().stalls.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::fs::write(&path, &right).unwrap();
            proxy.set(Faults::default());
            proxy.cut_all();
        });
        read_unit(&export, unit).unwrap()
    });
    assert!(bytes == local[3]);
    assert!(export.usage().retries >= 2, "the cut range, then the whole object: {}", export.usage().retries);
}

#[test]
fn a_damaged_object_is_downloaded_again_once_and_then_corrupt() {
    let world = World::new();
    let path = world.folder().join(world.export.data_key(1));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let export = world.open(world.options(world.server.address)).unwrap();
    let error = read(&export).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("is damaged: its MD5 is"), "{error}");
    assert_eq!(export.usage().retries, 1);
}

#[test]
fn a_missing_object_fails_its_unit_by_name() {
    let world = World::new();
    std::fs::remove_file(world.folder().join(world.export.data_key(2))).unwrap();
    let export = world.open(world.options(world.server.address)).unwrap();
    let error = read(&export).unwrap_err();
    assert!(error.to_string().contains(&world.export.data_key(2)), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn an_emptied_object_is_corrupt() {
    let world = World::new();
    std::fs::write(world.folder().join(world.export.data_key(0)), "").unwrap();
    let export = world.open(world.options(world.server.address)).unwrap();
    let error = read(&export).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn an_export_that_is_still_running_is_named_as_such() {
    let world = World::new();
    let folder = world.folder().join("daily/AWSDynamoDB");
    let id = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(id.join("manifest-summary.json")).unwrap();
    let error = world.open(world.options(world.server.address)).unwrap_err();
    assert!(error.to_string().contains("is not complete"), "{error}");
    std::fs::remove_file(id.join("_started")).unwrap();
    std::fs::remove_file(id.join("manifest-files.json")).unwrap();
    let error = world.open(world.options(world.server.address)).unwrap_err();
    assert!(error.to_string().contains("no export"), "{error}");
}

#[test]
fn keys_that_are_not_accepted_are_said_plainly() {
    let world = World::new();
    let shared = config("AKIAOTHER", "other");
    let options = world.options(world.server.address);
    let bucket = S3Bucket::with_config(world.runtime.handle().clone(), &shared, BUCKET, options);
    let error = Objects::S3(bucket).read("x", 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("access denied") || error.to_string().contains("not accepted"), "{error}");
}
