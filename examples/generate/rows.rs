//! The orders as ready-made rows, for measuring a server's own loader: one tab-separated file beside each data file,
//! in the order of the export. Columns as in the benchmark table: customer_id, order_id, status, total, quantity,
//! created_at, gift, tags, address.

use crate::generator::export::Export;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// Writes `<n>.tsv` for each data file of `export` into `folder`, files in parallel.
pub(crate) fn write(export: &Export, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    std::thread::scope(|scope| {
        let writers: Vec<_> = export
            .files
            .iter()
            .enumerate()
            .map(|(index, file)| scope.spawn(move || write_file(&file.path, &folder.join(format!("{index}.tsv")))))
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| io::Error::other("a writer died"))?)
    })
}

fn write_file(export: &Path, rows: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(MultiGzDecoder::new(File::open(export)?)).lines();
    let mut out = BufWriter::new(File::create(rows)?);
    lines.try_for_each(|line| {
        let item: Value = serde_json::from_str(&line?)?;
        let item = &item["Item"];
        let text = |name: &str, tag: &str| item[name][tag].as_str().unwrap_or_default().to_owned();
        let created_at = text("created_at", "S").replace('T', " ").replace('Z', "");
        let gift = u8::from(item["gift"]["BOOL"] == true);
        let fields = [
            text("customer_id", "S"),
            text("order_id", "S"),
            text("status", "S"),
            text("total", "N"),
            text("quantity", "N"),
            created_at,
            gift.to_string(),
            plain(&item["tags"]).to_string(),
            plain(&item["address"]).to_string(),
        ];
        // LOAD DATA's default escape character
        let fields = fields.map(|field| field.replace('\\', "\\\\"));
        writeln!(out, "{}", fields.join("\t"))
    })?;
    out.flush()
}

/// The value without its type tags; numbers with a fraction stay text, as the engine writes them.
fn plain(value: &Value) -> Value {
    let Some((tag, payload)) = value.as_object().and_then(|object| object.iter().next()) else { return Value::Null };
    match (tag.as_str(), payload) {
        ("M", Value::Object(map)) => map.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        ("L", Value::Array(list)) => list.iter().map(plain).collect(),
        ("SS", Value::Array(members)) => {
            // a set has no order; the engine writes this one
            let mut members: Vec<&str> = members.iter().filter_map(Value::as_str).collect();
            members.sort_unstable();
            members.into()
        }
        ("N", Value::String(text)) => text.parse::<i64>().map_or_else(|_| payload.clone(), Value::from),
        ("NULL", _) => Value::Null,
        _ => payload.clone(),
    }
}
