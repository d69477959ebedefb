//! A MySQL or MariaDB server as a load meets it: its version, its settings, who this user is, what else goes on.

use super::grants::Grants;
use super::target::{Demand, room};
use super::{fail, pass, warn};
use crate::driver::fault::FaultResult;
use crate::driver::session::{Fetched, Session};
use crate::driver::target::MySqlTarget;
use crate::model::dialect::Dialect;
use crate::plan::Check;
use crate::sink::advice::{ABOUT, LARGE_BYTES, advice};
use std::collections::BTreeMap;
use std::path::Path;

/// What is asked.
const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'sql_mode', 'read_only', 'local_infile', \
     'max_connections', 'innodb_buffer_pool_size', 'innodb_page_size', 'log_bin', 'binlog_expire_logs_seconds', \
     'expire_logs_days', 'datadir', 'basedir', 'max_allowed_packet')";

/// The first releases that have what the engine's statements need.
const MYSQL_LEAST: [u32; 3] = [8, 0, 19];
const MARIADB_LEAST: [u32; 3] = [10, 6, 0];

/// An item of DynamoDB is 400 KB at most; as JSON it can be several times that.
const PACKET_AMPLE: u64 = 16 << 20;

/// Claims and heartbeats, beside the writers' connections.
const CONTROL_SESSIONS: usize = 2;

struct Settings(BTreeMap<String, String>);

impl Settings {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.parse().ok()
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.text(name), "ON" | "1")
    }
}

/// Looks at a server.
pub(super) async fn server(
    session: &mut Session,
    target: &MySqlTarget,
    demand: &Demand<'_>,
) -> FaultResult<Vec<Check>> {
    let mut settings = Settings(BTreeMap::new());
    for row in session.fetch(VARIABLES, &[]).await? {
        settings.0.insert(row[0].text().unwrap_or_default().to_lowercase(), row[1].text().unwrap_or_default());
    }
    let grants = grants(session, &target.database).await?;
    let mut checks = vec![
        version(&settings, session.dialect()),
        tls(session, target).await?,
        read_only(&settings),
        privileges(&grants, demand),
        sql_mode(&settings),
        packet(session.max_packet() as u64, demand),
        local_infile(&settings),
        page_size(&settings),
        connections(session, &settings, demand).await?,
        buffer_pool(&settings, demand),
    ];
    checks.extend(load_settings(session, demand).await?);
    checks.push(replicas(session, &settings, &grants).await?);
    checks.push(disk(&settings, target, demand));
    Ok(checks)
}

fn version(settings: &Settings, dialect: Dialect) -> Check {
    let said = settings.text("version");
    let numbers: Vec<u32> = said.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    let (name, least) = if dialect == Dialect::MariaDb { ("MariaDB", MARIADB_LEAST) } else { ("MySQL", MYSQL_LEAST) };
    let found = [0, 1, 2].map(|part| numbers.get(part).copied().unwrap_or(0));
    if found >= least {
        return pass("version", format!("{name} {said}"));
    }
    let least: Vec<String> = least.iter().map(u32::to_string).collect();
    fail("version", format!("{name} {said}"), format!("use {name} {} or later", least.join(".")))
}

async fn tls(session: &mut Session, target: &MySqlTarget) -> FaultResult<Check> {
    const NAME: &str = "target";
    let rows = session.fetch_named("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
    let cipher = rows.first().and_then(|row| row.get(1)).and_then(|(_, value)| value.text()).unwrap_or_default();
    let place = format!("{}:{}", target.host, target.port);
    Ok(match cipher.as_str() {
        "" if target.is_loopback() => pass(NAME, format!("{place} answers, on this machine, without TLS")),
        "" => {
            warn(NAME, format!("{place} answers without TLS: rows and password travel in the open"), "use --tls auto")
        }
        cipher => pass(NAME, format!("{place} answers with TLS ({cipher})")),
    })
}

fn read_only(settings: &Settings) -> Check {
    if settings.is_on("read_only") {
        let step = "name the primary server, or SET GLOBAL read_only = OFF";
        return fail("writes", "the server is read-only: a replica, or one that is being kept so", step);
    }
    pass("writes", "the server takes writes")
}

async fn grants(session: &mut Session, database: &str) -> FaultResult<Grants> {
    let rows = session.fetch_named("SHOW GRANTS").await?;
    let lines: Vec<String> = rows.iter().filter_map(|row| row.first()?.1.text()).collect();
    Ok(Grants::parse(lines.iter().map(String::as_str), database))
}

fn privileges(grants: &Grants, demand: &Demand<'_>) -> Check {
    const NAME: &str = "privileges";
    // The control tables are new, so what they need is needed in all of the database.
    let mut lacking: Vec<&str> = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"].to_vec();
    if demand.tables.iter().any(|table| !table.indexes.is_empty()) {
        lacking.push("ALTER");
    }
    lacking.retain(|privilege| !grants.holds(privilege));
    let sees_triggers = demand.tables.iter().all(|table| grants.holds_on("TRIGGER", &table.name));
    let step = |privileges: &[&str]| format!("GRANT {} on the database to this user", privileges.join(", "));
    if !lacking.is_empty() && grants.roles {
        let finding = format!("{} not granted directly; a role may give them", lacking.join(", "));
        return warn(NAME, finding, step(&lacking));
    }
    if !lacking.is_empty() {
        return fail(NAME, format!("lacking: {}", lacking.join(", ")), step(&lacking));
    }
    if !sees_triggers {
        let finding = "without TRIGGER the server hides the triggers of existing tables, and the check finds none";
        return warn(NAME, finding, step(&["TRIGGER"]));
    }
    pass(NAME, "all that a run needs")
}

fn sql_mode(settings: &Settings) -> Check {
    let mode = settings.text("sql_mode");
    if mode.contains("STRICT_ALL_TABLES") || mode.contains("STRICT_TRANS_TABLES") {
        return pass("sql_mode", "strict, as the engine's own sessions are");
    }
    let finding = "not strict: the engine's sessions are, but the application's cut what does not fit";
    warn("sql_mode", finding, "SET GLOBAL sql_mode to one with STRICT_TRANS_TABLES")
}

fn packet(most: u64, demand: &Demand<'_>) -> Check {
    const NAME: &str = "max_allowed_packet";
    let finding = format!("{} KiB; the largest row seen has {} KiB", most >> 10, demand.largest_row.div_ceil(1024));
    let step = format!("SET GLOBAL max_allowed_packet = {}", PACKET_AMPLE * 4);
    match most {
        // what the sink keeps for a packet's own bytes
        most if demand.largest_row + 1024 > most => fail(NAME, finding + ": it would be rejected", step),
        most if most < PACKET_AMPLE => warn(NAME, finding + "; an item of 400 KB can become a larger one", step),
        _ => pass(NAME, finding),
    }
}

fn local_infile(settings: &Settings) -> Check {
    if settings.is_on("local_infile") {
        return pass("local_infile", "on: rows are sent by LOAD DATA LOCAL");
    }
    let step = "SET GLOBAL local_infile = ON, or the parameter group";
    warn("local_infile", "off: rows are inserted, which takes longer", step)
}

fn page_size(settings: &Settings) -> Check {
    let size = settings.number("innodb_page_size").unwrap_or(16_384);
    if size >= 16_384 {
        return pass("innodb_page_size", format!("{} KiB: keys of 3072 bytes", size >> 10));
    }
    let most = size * 3072 / 16_384;
    let step = "shorten the key columns in a mapping file, or use a server with pages of 16 KiB";
    warn("innodb_page_size", format!("{} KiB: keys take {most} bytes at most", size >> 10), step)
}

async fn connections(session: &mut Session, settings: &Settings, demand: &Demand<'_>) -> FaultResult<Check> {
    const NAME: &str = "connections";
    let rows = session.fetch_named("SHOW GLOBAL STATUS LIKE 'Threads_connected'").await?;
    let number = |value: &Fetched| value.text().and_then(|text| text.parse::<u64>().ok());
    let used = rows.first().and_then(|row| row.get(1)).and_then(|(_, value)| number(value)).unwrap_or(0);
    let most = settings.number("max_connections").unwrap_or(u64::MAX);
    // each writer has one that loads and one that inserts
    let wanted = (demand.writers * 2 + CONTROL_SESSIONS) as u64;
    let finding = format!("{used} of {most} in use, a run takes up to {wanted}");
    Ok(if most.saturating_sub(used) >= wanted {
        pass(NAME, finding)
    } else {
        fail(NAME, finding, "raise max_connections, or give fewer --writers")
    })
}

fn buffer_pool(settings: &Settings, demand: &Demand<'_>) -> Check {
    let pool = settings.number("innodb_buffer_pool_size").unwrap_or(0);
    let finding = format!("{} MiB for tables of about {} MiB", pool >> 20, demand.bytes >> 20);
    if demand.bytes <= pool / 2 {
        return pass("buffer pool", finding);
    }
    let step = "load in key order (--load-order clustered, of an export), or give the server more memory for the night";
    warn("buffer pool", finding + ": rows in hash order would be read and written page by page", step)
}

/// What slows a load: a line for each setting that the engine has advice about.
async fn load_settings(session: &mut Session, demand: &Demand<'_>) -> FaultResult<Vec<Check>> {
    if demand.bytes < LARGE_BYTES {
        return Ok(vec![pass("redo log, binary log", "of no matter to a load as small as this")]);
    }
    let found = advice(session, demand.tables, demand.bytes).await?;
    let of = |about: &'static str| match found.iter().find(|advice| advice.about == about) {
        Some(advice) => warn(about, advice.line.clone(), "decide before the run; it changes nothing by itself"),
        None => pass(about, "does not slow the load"),
    };
    Ok(ABOUT.into_iter().map(of).collect())
}

async fn replicas(session: &mut Session, settings: &Settings, grants: &Grants) -> FaultResult<Check> {
    const NAME: &str = "replicas";
    if !settings.is_on("log_bin") {
        return Ok(pass(NAME, "none: the binary log is off"));
    }
    let rows = session.fetch_named("SHOW PROCESSLIST").await?;
    let is_dump = |row: &Vec<(String, Fetched)>| {
        let command = row.iter().find(|(name, _)| name.eq_ignore_ascii_case("Command"));
        command.and_then(|(_, value)| value.text()).is_some_and(|text| text.starts_with("Binlog Dump"))
    };
    let attached = rows.iter().filter(|row| is_dump(row)).count();
    let keeps = match (settings.number("binlog_expire_logs_seconds"), settings.number("expire_logs_days")) {
        (Some(seconds), _) if seconds > 0 => format!("kept for {:.0} h", seconds as f64 / 3600.0),
        (_, Some(days)) if days > 0 => format!("kept for {days} days"),
        _ => "never removed by the server".to_owned(),
    };
    let managed = if settings.text("basedir").contains("rdsdbbin") {
        "; on RDS see `CALL mysql.rds_show_configuration` for the hours"
    } else {
        ""
    };
    let spare = "--max-replica-lag S --replica mysql://user@replica/database holds the writers while one is behind";
    Ok(match attached {
        0 if !grants.holds("PROCESS") => {
            let finding = format!("not known without PROCESS; the binary log is on, {keeps}{managed}");
            warn(NAME, finding, format!("if there are any: {spare}"))
        }
        0 => pass(NAME, format!("none attached; the binary log is on, {keeps}{managed}: have room for it")),
        count => warn(NAME, format!("{count} attached: the load reaches them through the binary log"), spare),
    })
}

fn disk(settings: &Settings, target: &MySqlTarget, demand: &Demand<'_>) -> Check {
    let folder = Path::new(settings.text("datadir"));
    if target.is_loopback() && folder.is_dir() {
        return room(folder, demand.bytes);
    }
    let wanted = demand.bytes.saturating_add(demand.bytes / 2) as f64 / 1e9;
    warn("disk", "not known: the server does not tell", format!("see that it has {wanted:.1} GB free"))
}
