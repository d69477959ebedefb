//! What is asked of a table before and around its items: its safety nets, and its exports to S3. Calls of the control plane,
//! with the SDK's own retries.
//!
//! Promises: an answer says what the service said; whoever may not ask learns which permission is lacking.

use super::refusal::{self, Asked, Refusal};
use super::{DynamoDb, RefusalKind};
use aws_sdk_dynamodb::primitives::DateTime;
use aws_sdk_dynamodb::types;

/// Whether a table can be brought back to any second of the last weeks, which an export needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backups {
    /// Point-in-time recovery is on.
    pub point_in_time: bool,
    /// The earliest moment that can be exported, in seconds since 1970.
    pub earliest: Option<i64>,
}

/// An export to S3 to be asked for.
#[derive(Clone, Copy, Debug)]
pub struct ExportCall<'a> {
    /// The table's ARN.
    pub table_arn: &'a str,
    /// The bucket.
    pub bucket: &'a str,
    /// What its keys begin with; empty for nothing.
    pub prefix: &'a str,
    /// The same token within eight hours is the same export, however often it is asked for.
    pub token: &'a str,
    /// Only what was written from the one moment on and before the other, in seconds since 1970: an incremental export.
    pub window: Option<(u64, u64)>,
}

/// An export, as the service describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportState {
    /// Its ARN.
    pub arn: String,
    /// How far it is.
    pub progress: ExportProgress,
    /// The token with which it was asked for.
    pub token: Option<String>,
    /// Items, once it is complete.
    pub items: Option<u64>,
    /// Bytes that it is billed for, once it is complete.
    pub billed_bytes: Option<u64>,
}

/// How far an export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportProgress {
    /// It goes on.
    Running,
    /// It is complete; the key of its manifest-summary.json, where the service tells it.
    Complete(Option<String>),
    /// It failed: the service's code and words.
    Failed {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
    },
}

impl DynamoDb {
    /// Whether point-in-time recovery is on.
    ///
    /// # Errors
    /// A refusal.
    pub async fn backups(&self, table: &str) -> Result<Backups, Refusal> {
        let asked = self.asked("DescribeContinuousBackups", table);
        let answer = self.control.describe_continuous_backups().table_name(table).send().await;
        let answer = answer.map_err(|error| refusal::classify(asked, error))?;
        let described = answer.continuous_backups_description();
        let Some(recovery) = described.and_then(|backups| backups.point_in_time_recovery_description()) else {
            return Ok(Backups::default());
        };
        let on = recovery.point_in_time_recovery_status() == Some(&types::PointInTimeRecoveryStatus::Enabled);
        Ok(Backups { point_in_time: on, earliest: recovery.earliest_restorable_date_time().map(|at| at.secs()) })
    }

    /// The attribute by which items expire; none when they do not.
    ///
    /// # Errors
    /// A refusal.
    pub async fn time_to_live(&self, table: &str) -> Result<Option<String>, Refusal> {
        let asked = self.asked("DescribeTimeToLive", table);
        let answer = self.control.describe_time_to_live().table_name(table).send().await;
        let answer = answer.map_err(|error| refusal::classify(asked, error))?;
        let Some(ttl) = answer.time_to_live_description() else { return Ok(None) };
        let on = matches!(
            ttl.time_to_live_status(),
            Some(types::TimeToLiveStatus::Enabled | types::TimeToLiveStatus::Enabling)
        );
        Ok(ttl.attribute_name().filter(|_| on).map(str::to_owned))
    }

    /// Asks for an export of the table as it is now, or of what was written within a window, as DynamoDB JSON.
    ///
    /// # Errors
    /// A refusal; its code is the service's.
    pub async fn request_export(&self, call: &ExportCall<'_>) -> Result<ExportState, Refusal> {
        let asked = self.asked("ExportTableToPointInTime", table_of(call.table_arn));
        let mut request = self
            .control
            .export_table_to_point_in_time()
            .table_arn(call.table_arn)
            .s3_bucket(call.bucket)
            .client_token(call.token)
            .export_format(types::ExportFormat::DynamodbJson);
        if !call.prefix.is_empty() {
            request = request.s3_prefix(call.prefix);
        }
        if let Some((from, to)) = call.window {
            let time = |seconds: u64| DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let window = types::IncrementalExportSpecification::builder()
                .export_from_time(time(from))
                .export_to_time(time(to))
                .export_view_type(types::ExportViewType::NewImage);
            request = request.export_type(types::ExportType::IncrementalExport);
            request = request.incremental_export_specification(window.build());
        }
        let answer = request.send().await.map_err(|error| refusal::classify(asked, error))?;
        answer.export_description().map(state).ok_or_else(|| nothing_described(asked))
    }

    /// How far an export is.
    ///
    /// # Errors
    /// A refusal; `ExportNotFoundException` in its code when there is none.
    pub async fn describe_export(&self, arn: &str) -> Result<ExportState, Refusal> {
        let asked = self.asked("DescribeExport", table_of(arn));
        let answer = self.control.describe_export().export_arn(arn).send().await;
        let answer = answer.map_err(|error| refusal::classify(asked, error))?;
        answer.export_description().map(state).ok_or_else(|| nothing_described(asked))
    }

    /// The ARNs of the table's exports of the last 90 days.
    ///
    /// # Errors
    /// A refusal.
    pub async fn exports(&self, table_arn: &str) -> Result<Vec<String>, Refusal> {
        let asked = self.asked("ListExports", table_of(table_arn));
        let (mut arns, mut next) = (Vec::new(), None);
        loop {
            let answer = self.control.list_exports().table_arn(table_arn).set_next_token(next).send().await;
            let answer = answer.map_err(|error| refusal::classify(asked, error))?;
            arns.extend(answer.export_summaries().iter().filter_map(|summary| summary.export_arn().map(str::to_owned)));
            next = answer.next_token().map(str::to_owned);
            if next.is_none() {
                return Ok(arns);
            }
        }
    }

    fn asked<'a>(&'a self, call: &'static str, table: &'a str) -> Asked<'a> {
        Asked { call, table, place: &self.place, writes: false }
    }
}

/// `NAME` of `arn:…:table/NAME` and `arn:…:table/NAME/export/ID`.
fn table_of(arn: &str) -> &str {
    let name = arn.split_once(":table/").map_or(arn, |(_, name)| name);
    name.split('/').next().unwrap_or(name)
}

fn nothing_described(asked: Asked<'_>) -> Refusal {
    let message = format!("{} describes no export: check that it speaks DynamoDB's protocol", asked.place);
    Refusal::new(RefusalKind::Other, "answer not understood", message)
}

fn state(export: &types::ExportDescription) -> ExportState {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let progress = match export.export_status() {
        Some(types::ExportStatus::Completed) => ExportProgress::Complete(export.export_manifest().map(str::to_owned)),
        Some(types::ExportStatus::Failed) => {
            ExportProgress::Failed { code: text(export.failure_code()), message: text(export.failure_message()) }
        }
        _ => ExportProgress::Running,
    };
    let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    ExportState {
        arn: text(export.export_arn()),
        progress,
        token: export.client_token().map(str::to_owned),
        items: count(export.item_count()),
        billed_bytes: count(export.billed_size_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::table_of;

    #[test]
    fn the_table_is_found_in_an_arn() {
        assert_eq!(table_of("arn:aws:dynamodb:eu-north-1:123456789123:table/orders"), "orders");
        assert_eq!(table_of("arn:aws:dynamodb:eu-north-1:1:table/orders/export/0176-ef"), "orders");
    }
}
