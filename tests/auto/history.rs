//! A table's last forty hours, and the services that tell of them: a stream that keeps twenty-four, and exports, full ones
//! and windows, written when they are asked for. One history is the truth of all.

use crate::generator::export::{file_name, manifest_line, write_manifest};
use crate::generator::orders::write_moment;
use crate::support::control_plane::{Answers, ControlPlane, Export, TABLE_ARN};
use crate::support::dynamo::{AWS_ENVIRONMENT, DynamoServer};
use crate::support::engine::Engine;
use crate::support::front::Front;
use crate::support::s3::S3Server;
use crate::support::small_export::gzip;
use crate::support::streams_server::{Plot, Record, StreamFaults, StreamsServer, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub(crate) const HOUR: u64 = 3600;
/// Changes of the past, one every four minutes.
const PAST: usize = 600;
const STEP: u64 = 240;
/// Changes while somebody reads the stream.
const LIVE: usize = 200;

/// The table, its services, and who exports it.
pub(crate) struct History {
    pub(crate) streams: Arc<StreamsServer>,
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) dynamo: DynamoServer,
    pub(crate) folder: tempfile::TempDir,
    /// When the test began, in seconds since 1970.
    pub(crate) now: u64,
    front: Front,
    s3: S3Server,
    over: Arc<AtomicBool>,
    exporter: Option<JoinHandle<()>>,
}

impl History {
    /// A history whose first full export will be of `age` seconds ago.
    pub(crate) fn new(seed: u64, age: u64, faults: StreamFaults) -> History {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut world = World::new(Plot { seed, keys: 40, before: 0, during: PAST + LIVE, closes: 9, late: 2 });
        for number in 0..PAST as u64 {
            world.clock = Some(now - PAST as u64 * STEP + number * STEP);
            world.play(1);
        }
        world.clock = Some(now);
        world.switched_on = Some(now - 30 * 24 * HOUR);
        world.trim_before(now - 24 * HOUR);
        let table = json!({
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}], "LatestStreamArn": world.arn(),
        });
        let streams = Arc::new(StreamsServer::start(world, faults));
        let plane = Arc::new(ControlPlane::start(Answers { table, polls: u32::MAX, ..Answers::default() }));
        let (dynamo, folder) = (DynamoServer::start(), tempfile::tempdir().unwrap());
        let s3 = S3Server::start(folder.path());
        let (of_streams, of_plane, of_items) = (address(&streams.url()), address(&plane.url()), dynamo.address);
        let front = Front::start(Box::new(move |target, body| match target.split_once('.') {
            Some((service, _)) if service.contains("Streams") => of_streams,
            Some((_, operation)) if operation.contains("Export") || body["TableName"] == "orders" => of_plane,
            _ => of_items,
        }));
        let over = Arc::new(AtomicBool::new(false));
        let exporter = Exporter { streams: Arc::clone(&streams), bucket: folder.path().join("bucket"), of: now - age };
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        std::fs::create_dir(folder.path().join("memory")).unwrap();
        let (watched, until) = (Arc::clone(&plane), Arc::clone(&over));
        let exporter = Some(std::thread::spawn(move || exporter.run(&watched, &until)));
        History { streams, plane, dynamo, folder, now, front, s3, over, exporter }
    }

    /// `transvase VERB` for the table, in a folder where it remembers what it asked for.
    pub(crate) fn engine(&self, verb: &str, from: &str, args: &[&str]) -> Engine {
        let s3 = format!("http://{}", self.s3.address);
        let ends = ["--from", from, "--endpoint-url", &self.front.url(), "--s3-endpoint", &s3];
        let engine = Engine::new(&[&[verb], ends.as_slice(), &["--lease-seconds", "2"], args].concat());
        let engine = engine.within(&self.folder.path().join("memory")).report();
        AWS_ENVIRONMENT.into_iter().fold(engine, |engine, (name, value)| engine.env(name, value))
    }

    /// The one command.
    pub(crate) fn auto(&self, args: &[&str]) -> Engine {
        let exports = ["--request-exports", "s3://bucket", "--export-poll-seconds", "0.01"];
        self.engine("follow", "auto:orders", &[exports.as_slice(), args].concat())
    }

    /// The windows that were asked for, in seconds since 1970; the full exports among them as none.
    pub(crate) fn exported(&self) -> Vec<Option<(u64, u64)>> {
        self.plane.exports().into_iter().map(|export| export.window).collect()
    }

    /// For how many seconds the test has been running.
    pub(crate) fn lasts(&self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - self.now
    }

    /// What the table holds.
    pub(crate) fn truth(&self) -> BTreeMap<String, u64> {
        self.streams.world(|world| world.items.clone())
    }

    /// Changes that the stream says were made at or after a moment.
    pub(crate) fn changes_since(&self, moment: u64) -> u64 {
        self.streams.world(|world| {
            let records = world.records();
            records.iter().filter(|record| world.created(record) >= moment).count() as u64
        })
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // a failure in there is one of the test
        if let (Some(Err(failed)), false) = (self.exporter.take().map(JoinHandle::join), std::thread::panicking()) {
            std::panic::resume_unwind(failed);
        }
    }
}

/// Writes exports.
struct Exporter {
    streams: Arc<StreamsServer>,
    bucket: PathBuf,
    /// When the next full export is of.
    of: u64,
}

impl Exporter {
    fn run(self, plane: &ControlPlane, over: &AtomicBool) {
        let mut ended = 0;
        while !over.load(Ordering::SeqCst) {
            for export in plane.exports().iter().skip(ended) {
                self.write(export);
                ended += 1;
            }
            plane.change(|answers| answers.ended = ended);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// What the table held before a moment, but for what `lacks` says that it does not show yet.
    fn state(&self, before: u64, lacks: impl Fn(&Record) -> bool) -> BTreeMap<String, u64> {
        let mut items = BTreeMap::new();
        let records = self.streams.world(|world| world.records());
        for record in records.into_iter().filter(|record| record.made < before && !lacks(record)) {
            match record.version {
                Some(version) => drop(items.insert(record.key, version)),
                None => drop(items.remove(&record.key)),
            }
        }
        items
    }

    fn write(&self, export: &Export) {
        let lines: Vec<String> = match export.window {
            // an export of "now" may lack what was written in the minute before
            None => self.state(self.of, |record| record.made + 60 >= self.of).iter().map(full).collect(),
            Some((from, to)) => {
                let (before, after) = (self.state(from, |_| false), self.state(to, |_| false));
                let records = self.streams.world(|world| world.records());
                let changed = records.into_iter().filter(|record| (from..to).contains(&record.made));
                let keys: std::collections::BTreeSet<String> = changed.map(|record| record.key).collect();
                keys.iter().filter_map(|key| window(key, before.get(key), after.get(key))).collect()
            }
        };
        let id = export.arn.rsplit('/').next().unwrap();
        let folder = self.bucket.join("AWSDynamoDB").join(id);
        let data = match export.window {
            None => format!("AWSDynamoDB/{id}/data"),
            Some(_) => "AWSDynamoDB/data".to_owned(),
        };
        for path in [&folder, &self.bucket.join(&data)] {
            std::fs::create_dir_all(path).unwrap();
        }
        let mut list = String::new();
        for (number, lines) in lines.chunks(lines.len().div_ceil(3).max(1)).enumerate() {
            let key = format!("{data}/{}.json.gz", file_name(crc32fast::hash(id.as_bytes()).into(), number));
            let bytes = gzip(lines.concat().as_bytes(), 1);
            std::fs::write(self.bucket.join(&key), &bytes).unwrap();
            list += &manifest_line(lines.len() as u64, &bytes, &key);
        }
        write_manifest(&folder, "manifest-files", &list, "md5").unwrap();
        write_manifest(&folder, "manifest-summary", &self.summary(export, &folder, lines.len()), "md5").unwrap();
    }

    fn summary(&self, export: &Export, folder: &Path, items: usize) -> String {
        let (version, times, tail) = match export.window {
            None => ("2020-06-30", format!(r#""exportTime":"{}""#, moment(self.of)), ""),
            Some((from, to)) => (
                "2023-08-01",
                format!(r#""exportFromTime":"{}","exportToTime":"{}""#, moment(from), moment(to)),
                r#","outputView":"NEW_AND_OLD_IMAGES","exportType":"INCREMENTAL_EXPORT""#,
            ),
        };
        let (arn, begun) = (&export.arn, moment(self.of));
        let id = folder.file_name().unwrap().to_str().unwrap();
        format!(
            r#"{{"version":"{version}","exportArn":"{arn}","startTime":"{begun}","endTime":"{begun}","tableArn":"{TABLE_ARN}","tableId":"cf263806",{times},"s3Bucket":"bucket","s3Prefix":null,"s3SseAlgorithm":"AES256","s3SseKmsKeyId":null,"manifestFilesS3Key":"AWSDynamoDB/{id}/manifest-files.json","billedSizeBytes":0,"itemCount":{items},"outputFormat":"DYNAMODB_JSON"{tail}}}"#
        )
    }
}

fn item(key: &str, version: u64) -> Value {
    json!({"id": {"S": key}, "version": {"N": version.to_string()}})
}

fn full((key, version): (&String, &u64)) -> String {
    json!({"Item": item(key, *version)}).to_string() + "\n"
}

/// The net effect of a window on one key.
fn window(key: &str, before: Option<&u64>, after: Option<&u64>) -> Option<String> {
    let mut line = json!({"Metadata": {"WriteTimestampMicros": {"N": "1768386096366933"}}, "Keys": {"id": {"S": key}}});
    if before.is_none() && after.is_none() {
        return None;
    }
    if let Some(version) = before {
        line["OldImage"] = item(key, *version);
    }
    if let Some(version) = after {
        line["NewImage"] = item(key, *version);
    }
    Some(line.to_string() + "\n")
}

/// As manifests write it.
fn moment(seconds: u64) -> String {
    // 2024-01-01
    let mut text = Vec::new();
    write_moment(seconds - 1_704_067_200, &mut text).unwrap();
    String::from_utf8(text).unwrap().replace('Z', ".000Z")
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}
