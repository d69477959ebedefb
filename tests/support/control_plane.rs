//! The control plane of DynamoDB as far as a copy asks it: a table's description, its backups, its exports to S3. The emulator
//! has none of it. It knows one table, takes every credential, and answers as it was told to.

use super::http::HttpServer;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// The one table.
pub(crate) const TABLE: &str = "orders";
/// Its ARN.
pub(crate) const TABLE_ARN: &str = "arn:aws:dynamodb:eu-north-1:123456789123:table/orders";

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// Members of the table's description, over the usual ones.
    pub(crate) table: Value,
    /// Whether point-in-time recovery is on.
    pub(crate) recovery: bool,
    /// The attribute by which items expire.
    pub(crate) expiry: Option<&'static str>,
    /// Operations that answer with this error: code and message.
    pub(crate) errors: BTreeMap<&'static str, (&'static str, &'static str)>,
    /// How often an export is refused because too many are under way.
    pub(crate) limited: u32,
    /// How often an export is told to go on before it ends.
    pub(crate) polls: u32,
    /// So many exports have ended, those that were asked for first, however often they were told to go on.
    pub(crate) ended: usize,
    /// How exports fail: code and message.
    pub(crate) failure: Option<(&'static str, &'static str)>,
    /// Exports are begun, and nobody hears of it.
    pub(crate) swallows: bool,
    /// The id of the first export; later ones count up.
    pub(crate) export_id: String,
}

impl Default for Answers {
    fn default() -> Self {
        Answers {
            table: json!({}),
            recovery: true,
            expiry: None,
            errors: BTreeMap::new(),
            limited: 0,
            polls: 1,
            ended: 0,
            failure: None,
            swallows: false,
            export_id: "01768385930622-efd1a093".to_owned(),
        }
    }
}

/// An export that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    /// What it was asked for with.
    pub(crate) token: String,
    /// Where to.
    pub(crate) bucket: String,
    /// Of an incremental one: its window, in seconds since 1970.
    pub(crate) window: Option<(u64, u64)>,
    /// Its ARN.
    pub(crate) arn: String,
    prefix: Option<String>,
    asked: u32,
}

/// A server, until it is dropped.
pub(crate) struct ControlPlane {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

struct State {
    answers: Answers,
    exports: Vec<Export>,
    calls: Vec<String>,
}

/// What a call comes to.
enum Reply {
    Success(Value),
    Error(String, String),
    Silence,
}

impl ControlPlane {
    /// Starts one.
    pub(crate) fn start(answers: Answers) -> ControlPlane {
        let state = Arc::new(Mutex::new(State { answers, exports: Vec::new(), calls: Vec::new() }));
        let shared = Arc::clone(&state);
        let server = HttpServer::start(service_fn(move |request| answer(Arc::clone(&shared), request)));
        ControlPlane { server, state }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Changes how it answers from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.state.lock().unwrap().answers);
    }

    /// The exports that were begun.
    pub(crate) fn exports(&self) -> Vec<Export> {
        self.state.lock().unwrap().exports.clone()
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| *call == operation).count()
    }

    /// Every operation that was called.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let reply = state.lock().unwrap().reply(operation, &serde_json::from_slice(&body).unwrap_or_default());
    let (status, body) = match reply {
        Reply::Success(body) => (200, body),
        Reply::Error(code, message) => {
            (400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message}))
        }
        Reply::Silence => std::future::pending().await,
    };
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    Ok(response.body(Full::new(Bytes::from(body.to_string()))).unwrap())
}

impl State {
    fn reply(&mut self, operation: &str, body: &Value) -> Reply {
        self.calls.push(operation.to_owned());
        if let Some((code, message)) = self.answers.errors.get(operation) {
            return Reply::Error((*code).to_owned(), (*message).to_owned());
        }
        Reply::Success(match operation {
            "DescribeTable" => json!({"Table": self.table()}),
            "DescribeContinuousBackups" => {
                let status = if self.answers.recovery { "ENABLED" } else { "DISABLED" };
                json!({"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED",
                    "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": status}}})
            }
            "DescribeTimeToLive" => {
                let status = if self.answers.expiry.is_some() { "ENABLED" } else { "DISABLED" };
                json!({"TimeToLiveDescription": {"TimeToLiveStatus": status, "AttributeName": self.answers.expiry}})
            }
            "Scan" => json!({"Count": 0, "ScannedCount": 0, "Items": []}),
            "GetItem" => json!({}),
            "ExportTableToPointInTime" => return self.export(body),
            "DescribeExport" => return self.describe_export(body["ExportArn"].as_str().unwrap_or_default()),
            "ListExports" => {
                let summary = |export: &Export| json!({"ExportArn": export.arn, "ExportStatus": "IN_PROGRESS"});
                json!({"ExportSummaries": self.exports.iter().map(summary).collect::<Vec<_>>()})
            }
            _ => return Reply::Error("UnknownOperationException".to_owned(), String::new()),
        })
    }

    fn table(&self) -> Value {
        let mut table = json!({
            "TableName": TABLE, "TableArn": TABLE_ARN, "TableId": "cf263806", "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "ItemCount": 1000, "TableSizeBytes": 400_000,
            "ProvisionedThroughput": {"ReadCapacityUnits": 400, "WriteCapacityUnits": 100},
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        });
        for (name, value) in self.answers.table.as_object().into_iter().flatten() {
            table[name] = value.clone();
        }
        table
    }

    fn export(&mut self, body: &Value) -> Reply {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if !self.answers.recovery {
            let message = "Point in time recovery is not enabled for table 'orders'";
            return Reply::Error("PointInTimeRecoveryUnavailableException".to_owned(), message.to_owned());
        }
        if self.answers.limited > 0 {
            self.answers.limited -= 1;
            return Reply::Error("LimitExceededException".to_owned(), "Too many exports".to_owned());
        }
        let token = text("ClientToken");
        let known = self.exports.iter().position(|export| export.token == token);
        let number = known.unwrap_or_else(|| {
            let id = match self.exports.len() {
                0 => self.answers.export_id.clone(),
                more => format!("0176838593{more:04}-0000000{more}"),
            };
            let prefix = body["S3Prefix"].as_str().map(str::to_owned);
            let arn = format!("{TABLE_ARN}/export/{id}");
            let time = |name: &str| {
                // whole seconds, however they are written
                let seconds = body["IncrementalExportSpecification"][name].to_string();
                seconds.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok())
            };
            let window = time("ExportFromTime").zip(time("ExportToTime"));
            assert_eq!(window.is_some(), body["ExportType"] == "INCREMENTAL_EXPORT");
            self.exports.push(Export { token, bucket: text("S3Bucket"), window, arn, prefix, asked: 0 });
            self.exports.len() - 1
        });
        if self.answers.swallows {
            return Reply::Silence;
        }
        Reply::Success(json!({"ExportDescription": self.describe(&self.exports[number], "IN_PROGRESS")}))
    }

    fn describe_export(&mut self, arn: &str) -> Reply {
        let (polls, ended) = (self.answers.polls, self.answers.ended);
        let Some((at, export)) = self.exports.iter_mut().enumerate().find(|(_, export)| export.arn == arn) else {
            return Reply::Error("ExportNotFoundException".to_owned(), "Export not found".to_owned());
        };
        export.asked += 1;
        let status = match (export.asked > polls || at < ended, self.answers.failure) {
            (false, _) => "IN_PROGRESS",
            (true, Some(_)) => "FAILED",
            (true, None) => "COMPLETED",
        };
        let export = export.clone();
        Reply::Success(json!({"ExportDescription": self.describe(&export, status)}))
    }

    fn describe(&self, export: &Export, status: &str) -> Value {
        let id = export.arn.rsplit('/').next().unwrap();
        let folder = export.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let mut described = json!({
            "ExportArn": export.arn, "ExportStatus": status, "ClientToken": export.token, "S3Bucket": export.bucket,
            "TableArn": TABLE_ARN,
        });
        match (status, self.answers.failure) {
            ("COMPLETED", _) => {
                described["ExportManifest"] = json!(format!("{folder}AWSDynamoDB/{id}/manifest-summary.json"));
            }
            ("FAILED", Some((code, message))) => {
                described["FailureCode"] = json!(code);
                described["FailureMessage"] = json!(message);
            }
            _ => {}
        }
        described
    }
}
