//! The certificate of a clean verification: what was compared with what, how and when, in JSON that cannot be altered
//! unnoticed.
//!
//! Its `fingerprint` is the SHA-256 of all other members, as JSON without spaces and with names in order. Who alters the
//! file can hash it anew, so the fingerprint is registered in the target as well, beside the rows it speaks of; of a
//! DynamoDB target, in the database of its run's state.

use crate::checkpoint::certificates;
use crate::driver::session::Session;
use crate::driver::target::Target;
use crate::error::{Error, Result};
use crate::model::counts::Compared;
use crate::model::hex;
use crate::sink::destination::Destination;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::path::Path;

/// The format that this version writes and reads.
const FORMAT: u32 = 1;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Of these members.
    pub format: u32,
    /// A random name.
    pub id: String,
    /// The engine's version.
    pub version: String,
    /// The source's identity.
    pub source: String,
    /// The mapping's identity.
    pub mapping: String,
    /// The target, as [`place`] names it.
    pub target: String,
    /// What was compared.
    pub tables: Vec<CertifiedTable>,
    /// How: full, digest or counts.
    pub level: String,
    /// The share of the source that was read; none for all of it.
    pub sample: Option<String>,
    /// The run whose rejects are accounted for.
    pub run: Option<String>,
    /// Items that the mapping does not take.
    pub rejected: u64,
    /// Items that the mapping skips.
    pub skipped: u64,
    /// Differences that remained, unsettled keys among them: none, in any certificate that is worth its name.
    pub differences: u64,
    /// When the comparison began, in microseconds since 1970 by the target's clock.
    pub started_us: i64,
    /// When the last key was settled, by the same clock.
    pub ended_us: i64,
}

/// One table's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedTable {
    /// Its name.
    pub table: String,
    /// What changes when it is altered, truncated or made anew.
    pub identity: String,
    /// Rows that the source's items map to, as they were compared.
    pub source_rows: u64,
    /// Rows of the target.
    pub target_rows: u64,
    /// Keys at which both agreed at once.
    pub equal: u64,
    /// Keys that agreed when they were looked at again.
    pub settled: u64,
    /// Keys whose items a run has rejected.
    pub accounted: u64,
    /// Keys that were mended.
    pub repaired: u64,
    /// All rows of the source, in whatever order.
    pub source_digest: String,
    /// All rows of the target.
    pub target_digest: String,
}

impl CertifiedTable {
    /// Takes over what was compared.
    #[must_use]
    pub fn new(table: &str, identity: &str, compared: &Compared) -> Self {
        CertifiedTable {
            table: table.to_owned(),
            identity: identity.to_owned(),
            source_rows: compared.source,
            target_rows: compared.target,
            equal: compared.equal,
            settled: 0,
            accounted: 0,
            repaired: 0,
            source_digest: compared.source_digest.to_string(),
            target_digest: compared.target_digest.to_string(),
        }
    }
}

impl Certificate {
    /// The parts that are the same for every certificate of this version; the rest is empty.
    #[must_use]
    pub fn draft() -> Self {
        Certificate {
            format: FORMAT,
            id: format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            source: String::new(),
            mapping: String::new(),
            target: String::new(),
            tables: Vec::new(),
            level: String::new(),
            sample: None,
            run: None,
            rejected: 0,
            skipped: 0,
            differences: 0,
            started_us: 0,
            ended_us: 0,
        }
    }

    /// All that it says but the fingerprint: the text that is hashed, and registered.
    fn body(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| Error::internal("the certificate is no JSON").because(error))
    }
}

/// A certificate file, read.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it says.
    pub certificate: Certificate,
    /// The fingerprint that it claims.
    pub claimed: String,
    /// The fingerprint that it has.
    pub fingerprint: String,
}

/// Reads a certificate's text; what it claims is not yet believed.
///
/// # Errors
/// `Config` when it is no certificate, or one of a later format.
pub fn read(text: &str, name: &str) -> Result<Read> {
    let none = || Error::config(format!("{name} is no certificate of transvase"));
    let mut value: Value = serde_json::from_str(text).map_err(|error| none().because(error))?;
    let claimed = value.as_object_mut().and_then(|members| members.remove("fingerprint"));
    let claimed = claimed.and_then(|claimed| claimed.as_str().map(str::to_owned)).ok_or_else(none)?;
    let format = value.get("format").and_then(Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        return Err(Error::config(format!("{name} is of a format that this version does not know: use a later one")));
    }
    let fingerprint = fingerprint(&value);
    let certificate = serde_json::from_value(value).map_err(|error| none().because(error))?;
    Ok(Read { certificate, claimed, fingerprint })
}

/// Registers the certificate in the target and writes it to `path`. The warning says that it could not be registered,
/// which whoever checks it will say as well.
///
/// # Errors
/// Of writing the file.
pub async fn issue(certificate: &Certificate, session: &mut Session, path: &Path) -> Result<Option<String>> {
    let mut body = certificate.body()?;
    let fingerprint = fingerprint(&body);
    let registered = certificates::register(session, &certificate.id, &fingerprint, &body.to_string()).await;
    if let Some(members) = body.as_object_mut() {
        members.insert("fingerprint".into(), Value::from(fingerprint));
    }
    let failed = || Error::config(format!("writing the certificate to {}", path.display()));
    let text = serde_json::to_string_pretty(&body).map_err(|error| failed().because(error))? + "\n";
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|error| failed().because(error))?;
    Ok(registered.err().map(|fault| {
        format!(
            "the certificate is not registered in the target, since its user may not write there (error {}): whoever \
             checks it will be told",
            fault.code
        )
    }))
}

/// A target as certificates name it: where it is, whoever looks at it.
#[must_use]
pub fn place(destination: &Destination) -> String {
    let target = match destination {
        Destination::Sql(target) => target,
        Destination::DynamoDb(target) if target.description.arn.is_empty() => return destination.to_string(),
        Destination::DynamoDb(target) => return target.description.arn.clone(),
    };
    match target {
        Target::MySql(mysql) => format!("mysql://{}:{}/{}", mysql.host, mysql.port, mysql.database),
        Target::Sqlite(path) => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            format!("sqlite:{}", path.display())
        }
        Target::Null => target.to_string(),
    }
}

/// SHA-256 in hex. A JSON object prints its members in order of their names.
fn fingerprint(body: &Value) -> String {
    hex::lower(&Sha256::digest(body.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(certificate: &Certificate) -> String {
        let mut body = certificate.body().unwrap();
        let fingerprint = fingerprint(&body);
        body["fingerprint"] = Value::from(fingerprint);
        body.to_string()
    }

    #[test]
    fn a_certificate_reads_back_and_shows_every_alteration() {
        let certificate = Certificate { level: "full".into(), sample: None, ended_us: 7, ..Certificate::draft() };
        let text = text(&certificate);
        let back = read(&text, "c").unwrap();
        assert_eq!((back.certificate, back.claimed), (certificate, back.fingerprint));
        let value: Value = serde_json::from_str(&text).unwrap();
        for member in
            value.as_object().unwrap().keys().filter(|member| !["fingerprint", "format"].contains(&member.as_str()))
        {
            let mut altered = value.clone();
            altered[member] = match &value[member] {
                Value::Number(_) => Value::from(8),
                Value::Array(_) => {
                    serde_json::json!([{"table": "t", "identity": "", "source_rows": 1, "target_rows": 1, "equal": 1,
                    "settled": 0, "accounted": 0, "repaired": 0, "source_digest": "", "target_digest": ""}])
                }
                _ => Value::from("other"),
            };
            let read = read(&altered.to_string(), "c").unwrap();
            assert_ne!(read.claimed, read.fingerprint, "{member}");
        }
    }

    #[test]
    fn layout_and_order_of_members_do_not_count() {
        let text = text(&Certificate::draft());
        let value: Value = serde_json::from_str(&text).unwrap();
        let members: Vec<String> =
            value.as_object().unwrap().iter().rev().map(|(name, value)| format!("{name:?}:  {value}")).collect();
        let read = read(&format!("{{\n{}\n}}", members.join(",\n")), "c").unwrap();
        assert_eq!(read.claimed, read.fingerprint);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for text in ["", "{}", "[]", r#"{"fingerprint":"x"}"#, r#"{"fingerprint":"x","format":2}"#] {
            assert!(read(text, "c.json").is_err(), "{text}");
        }
    }
}
