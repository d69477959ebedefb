//! How rows are sent to MySQL and MariaDB: by INSERT or by LOAD DATA LOCAL. Asked of the server before the first row.

use super::load::Load;
use crate::driver::fault::{Fault, FaultKind};
use crate::driver::pool::Pool;
use crate::error::{Error, Result};
use crate::mapping::Table;
use std::sync::Arc;

/// A connection that breaks while the server is asked says nothing of loads: it is asked again.
const PROBES_MAX: u32 = 3;

/// How rows are to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadMethod {
    /// INSERT, strict by itself.
    Insert,
    /// LOAD DATA LOCAL, or nothing.
    LoadData,
    /// LOAD DATA LOCAL where the server lets us, else INSERT.
    #[default]
    Auto,
}

/// The sessions that load rows into `tables`, which take loads, of the server behind `pool`; none when they are to be
/// inserted. When that is the server's doing, the log tells why in one line.
///
/// # Errors
/// `Config` when `LoadData` was asked for and cannot be; of connecting.
pub(super) async fn choose(
    method: LoadMethod,
    pool: &Pool,
    tables: &[&Table],
    sessions: usize,
) -> Result<Option<Arc<Pool>>> {
    let Some(target) = pool.target().loading().filter(|_| !tables.is_empty()) else {
        return match method {
            LoadMethod::LoadData => Err(Error::config(
                "--load-method load-data: --on-conflict replace overwrites rows, LOAD DATA would delete them first: leave \
                 one of the two away",
            )),
            LoadMethod::Insert | LoadMethod::Auto => Ok(None),
        };
    };
    let name = target.to_string();
    let loading = Arc::new(Pool::new(target, sessions));
    let why = match refusal(&loading, tables).await {
        Ok(None) => return Ok(Some(loading)),
        Ok(Some(why)) => why,
        Err(fault) => return Err(fault.into_error(&format!("asking {name} whether it takes LOAD DATA LOCAL"))),
    };
    match method {
        LoadMethod::LoadData => {
            Err(Error::config(format!("--load-method load-data: {why}; or leave the flag away, and rows are inserted")))
        }
        LoadMethod::Insert | LoadMethod::Auto => {
            tracing::warn!("rows are inserted, which takes longer than LOAD DATA LOCAL: {why}");
            Ok(None)
        }
    }
}

/// Why rows cannot be loaded, with the next step; none when they can.
async fn refusal(pool: &Pool, tables: &[&Table]) -> Result<Option<String>, Fault> {
    let mut probes = 1;
    loop {
        match probe(pool, tables).await {
            Ok(refusal) => return Ok(refusal),
            Err(fault) if fault.kind == FaultKind::Lost && probes == PROBES_MAX => return Err(fault),
            Err(fault) if fault.kind == FaultKind::Lost => probes += 1,
            Err(fault) => return Ok(Some(fault.into_error("it does not work here").to_string())),
        }
    }
}

async fn probe(pool: &Pool, tables: &[&Table]) -> Result<Option<String>, Fault> {
    let mut loan = pool.take().await?;
    let answer = loan.session.fetch("SELECT @@local_infile", &[]).await?;
    if answer.first().and_then(|row| row[0].int()) == Some(0) {
        return Ok(Some("the server has local_infile off, SET GLOBAL local_infile = ON allows it".to_owned()));
    }
    // Galera may commit within a load, and with it what the transaction has not proved yet.
    let splits = "SHOW GLOBAL VARIABLES WHERE variable_name = 'wsrep_load_data_splitting' AND value <> 'OFF'";
    if !loan.session.fetch_named(splits).await?.is_empty() {
        return Ok(Some(
            "the server commits within loads, SET GLOBAL wsrep_load_data_splitting = OFF ends that".to_owned(),
        ));
    }
    for table in tables {
        let load = Load::new(table, loan.session.dialect());
        load.probe(&mut loan.session).await?;
    }
    pool.give_back(loan);
    Ok(None)
}
