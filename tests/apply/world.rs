//! A source of changes that the test holds in memory, the mapping they are applied by, and the run that does it.

use super::history::Line;
use crate::support::transvase::{Target, text};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use transvase::backfill::{Backfill, LoadOrder, Options};
use transvase::driver::session::Session;
use transvase::driver::target::{Target as LibraryTarget, Tls};
use transvase::error::Result;
use transvase::mapping::Mapping;
use transvase::mapping::ddl::create_table;
use transvase::model::counts::Counts;
use transvase::model::page::{Page, Span, Unit, UnitId, Wanted};
use transvase::monitor::{Monitor, Monitors};
use transvase::pipeline::{MaxRejects, Options as Width};
use transvase::report::{Report, SourceUsage, Status};
use transvase::sink::OnConflict;
use transvase::sink::destination::Destination;
use transvase::sink::health::HealthOptions;
use transvase::sink::load_method::LoadMethod;
use transvase::source::{Description, Read, Source, UnitReader};

/// Lines in a page.
pub(super) const PAGE_LINES: usize = 50;

/// Three tables by an attribute's value, one of them by the key as well; keys of every form that is compared in its own way.
const MAPPING: &str = r#"
key = "pk:N,sk:S"
unmatched = "skip"
[[table]]
name = "small"
where = [{ attribute = "kind", equals = "small" }]
ignore = "*"
column = [
    { name = "pk", key = true, type = "bigint" },
    { name = "sk", key = true, type = "varchar(10)" },
    { name = "v", type = "bigint" },
    { name = "note", type = "varchar(12)" },
]
[[table]]
name = "big"
where = [{ attribute = "kind", equals = "big" }]
ignore = "*"
column = [
    { name = "sk", key = true, type = "varbinary(10)" },
    { name = "pk", key = true, type = "decimal(30,2)" },
    { name = "v", type = "bigint" },
    { name = "note", type = "varchar(12)" },
]
[[table]]
name = "logs"
where = [{ attribute = "kind", equals = "log" }, { attribute = "sk", begins_with = "s" }]
ignore = "*"
column = [
    { name = "pk", key = true, type = "varchar(40)" },
    { name = "sk", key = true, type = "varchar(10)", strip_prefix = "s" },
    { name = "v", type = "bigint" },
    { name = "note", type = "varchar(12)" },
]
"#;

pub(super) fn mapping() -> Mapping {
    Mapping::parse(MAPPING, "apply.toml").unwrap()
}

/// Makes the tables, which take no note `refused`.
pub(super) async fn make_tables(target: &Target) {
    let dialect = Session::open(&library_target(target)).await.unwrap().dialect();
    for table in mapping().tables() {
        let ddl = create_table(table, dialect).replacen("PRIMARY KEY", "CHECK (note <> 'refused'), PRIMARY KEY", 1);
        target.execute(&ddl).await;
    }
}

/// Every row of every table, as the history spells it.
pub(super) async fn rows(target: &Target) -> Vec<Vec<String>> {
    let sqlite = target.kind().is_none();
    let integer = |sql: &str| if sqlite { format!("CAST({sql} AS TEXT)") } else { format!("CAST({sql} AS CHAR)") };
    let whole = if sqlite { "CAST(CAST(pk AS INTEGER) AS TEXT)" } else { "CAST(CAST(pk AS SIGNED) AS CHAR)" };
    let sk = integer("sk");
    let prefixed = if sqlite { "'s' || sk" } else { "CONCAT('s', sk)" };
    let (pk, v) = (integer("pk"), integer("v"));
    let query = format!(
        "SELECT 'small', {pk}, sk, {v}, note FROM small UNION ALL SELECT 'big', {whole}, {sk}, {v}, note FROM big \
         UNION ALL SELECT 'logs', pk, {prefixed}, {v}, note FROM logs"
    );
    let rows = target.rows(&query).await;
    rows.iter().map(|row| row.iter().map(|cell| text(cell).to_owned()).collect()).collect()
}

/// The target as the library takes it.
pub(super) fn library_target(target: &Target) -> LibraryTarget {
    match target {
        Target::Sqlite(path) => LibraryTarget::Sqlite(path.clone()),
        Target::Server(database) => server(&database.url(), database.password(), &database.ca_file),
    }
}

/// A server's database by its URL.
pub(super) fn server(url: &str, password: &str, ca_file: &Path) -> LibraryTarget {
    let mut target = LibraryTarget::parse(url, Tls::Auto { ca: Some(ca_file.to_owned()) }).unwrap();
    if let LibraryTarget::MySql(mysql) = &mut target {
        mysql.password = Some(password.to_owned());
    }
    target
}

/// A source of changes in memory.
#[derive(Clone)]
pub(super) struct Bench {
    units: Arc<Vec<Vec<Line>>>,
    live: bool,
    page_lines: u64,
    description: Description,
}

impl Bench {
    /// Lineages of a stream.
    pub(super) fn live(units: Vec<Vec<Line>>) -> Bench {
        Bench::new(units, true)
    }

    /// Files of a window.
    pub(super) fn window(units: Vec<Vec<Line>>) -> Bench {
        Bench::new(units, false)
    }

    fn new(units: Vec<Vec<Line>>, live: bool) -> Bench {
        let unit = |(id, lines): (UnitId, &Vec<Line>)| Unit {
            id,
            name: format!("unit {id}"),
            items: (!live).then_some(lines.len() as u64),
        };
        let description = Description {
            table: "t".into(),
            identity: "changes of t".into(),
            units: (0..).zip(&units).map(unit).collect(),
            items: units.iter().map(|unit| unit.len() as u64).sum(),
            bytes: None,
            exact: !live,
            derived: None,
            changes: true,
        };
        Bench { units: Arc::new(units), live, page_lines: PAGE_LINES as u64, description }
    }

    /// The same in larger pages.
    pub(super) fn in_pages_of(self, page_lines: u64) -> Bench {
        Bench { page_lines, ..self }
    }

    /// Its lines are items, not changes.
    pub(super) fn of_items(mut self) -> Bench {
        self.description.changes = false;
        self
    }
}

impl Source for Bench {
    fn description(&self) -> &Description {
        &self.description
    }

    fn adopt(&mut self, _: &str, _: &Counts) -> Result<()> {
        Ok(())
    }

    fn open(&self, unit: UnitId, wanted: &Wanted) -> Result<Box<dyn UnitReader>> {
        let all = self.units[unit as usize].len() as u64;
        let wanted = wanted.items.iter().map(|range| range.start..range.end.min(all)).filter(|range| !range.is_empty());
        Ok(Box::new(Reader {
            units: Arc::clone(&self.units),
            unit,
            live: self.live,
            page_lines: self.page_lines,
            wanted: wanted.collect(),
        }))
    }

    fn usage(&self) -> SourceUsage {
        SourceUsage::default()
    }

    fn limited_by(&self) -> Option<String> {
        None
    }
}

struct Reader {
    units: Arc<Vec<Vec<Line>>>,
    unit: UnitId,
    live: bool,
    page_lines: u64,
    wanted: Vec<std::ops::Range<u64>>,
}

impl UnitReader for Reader {
    fn next(&mut self, _: &CancellationToken) -> Result<Read> {
        let Some(range) = self.wanted.first_mut() else { return Ok(Read::End) };
        let from = range.start;
        let to = range.end.min(from + self.page_lines);
        range.start = to;
        if range.is_empty() {
            self.wanted.remove(0);
        }
        let lines = &self.units[self.unit as usize][usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        let bytes = lines.iter().map(|line| line.text.as_str()).collect::<String>().into_bytes();
        let reached = self.live.then(|| format!("{{\"at\":{to}}}"));
        Ok(Read::Page(Page { span: Span { unit: self.unit, from, to }, bytes, reached, half_units: 0 }))
    }
}

/// Applies all of `bench` to a target; every change must end.
pub(super) async fn apply_to(
    target: &Target,
    folder: &Path,
    bench: Bench,
    run: &str,
    watching: &[Arc<dyn Monitor>],
) -> Report {
    apply(Destination::Sql(library_target(target)), folder, bench, run, watching).await
}

/// The same, by the mapping of this file or, into a DynamoDB table, item by item.
pub(super) async fn apply(
    destination: Destination,
    folder: &Path,
    bench: Bench,
    run: &str,
    watching: &[Arc<dyn Monitor>],
) -> Report {
    let mapping = match &destination {
        Destination::Sql(_) => mapping(),
        Destination::DynamoDb(target) => {
            Mapping::items(&transvase::mapping::parse_key("pk:N,sk:S").unwrap(), &target.description.name).unwrap()
        }
    };
    apply_by(mapping, destination, options(folder, run), bench, watching).await
}

/// The same, by any mapping and with any options.
pub(super) async fn apply_by(
    mapping: Mapping,
    destination: Destination,
    options: Options,
    bench: Bench,
    watching: &[Arc<dyn Monitor>],
) -> Report {
    let backfill = Backfill::prepare(Box::new(bench), Arc::new(mapping), destination, options).await.unwrap();
    let monitors: Arc<dyn Monitor> = Arc::new(Monitors(watching.to_vec()));
    let (report, error) = backfill.run(CancellationToken::new(), monitors).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    assert!(matches!(report.status, Status::Complete | Status::CompleteWithRejects), "{report:?}");
    report
}

/// Everything is replaced, nothing created, no number of rejects too large.
pub(super) fn options(folder: &Path, run: &str) -> Options {
    Options {
        run: Some(run.to_owned()),
        restart: false,
        on_conflict: OnConflict::Replace,
        live_target: true,
        load_method: LoadMethod::Auto,
        create_tables: false,
        defer_indexes: false,
        rejects: Some(folder.join("rejects.jsonl")),
        health: HealthOptions::default(),
        load_order: LoadOrder::Auto,
        spill_dir: folder.to_owned(),
        spill_limit: None,
        follows: None,
        pipeline: Width {
            memory_bytes: 16 << 20,
            readers: 2,
            open_units: 3,
            workers: 2,
            writers: 3,
            page_bytes: 1 << 20,
            seed: 5,
            lease: Duration::from_secs(30),
            max_rejects: MaxRejects::Count(u64::MAX),
        },
    }
}
