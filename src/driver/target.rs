//! Where rows go, as typed: `mysql://user@host:port/database`, `sqlite:FILE`, `null:`.

use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than a loaded server takes for a statement of some megabytes; a network that swallows packets takes forever.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Unless the run's lease says otherwise.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A parsed target URL with what is needed to connect.
#[derive(Clone)]
pub enum Target {
    /// MySQL or MariaDB.
    MySql(MySqlTarget),
    /// An SQLite file.
    Sqlite(PathBuf),
    /// Decodes, maps, encodes, counts, writes nothing.
    Null,
}

/// A MySQL server, a database on it, and how to get in.
#[derive(Clone)]
pub struct MySqlTarget {
    /// User name.
    pub user: String,
    /// Password, from the environment, a file or a prompt; never from argv.
    pub password: Option<String>,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// TLS.
    pub tls: Tls,
    /// A statement unanswered for so long is given up with its connection.
    pub answer_max: Duration,
    /// A session idle for so long is closed by the server, whatever locks it holds.
    pub idle_max: Duration,
    /// Sessions are such as can LOAD DATA LOCAL.
    pub loads: bool,
}

/// How the connection to MySQL is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// On loopback used when offered; elsewhere required, with the server's identity verified.
    Auto {
        /// Certificate authorities to trust instead of the public ones.
        ca: Option<PathBuf>,
    },
    /// Required, the certificate's chain verified, but not the host name.
    VerifyCa {
        /// Certificate authorities to trust.
        ca: PathBuf,
    },
    /// None, asked for by name.
    Off,
}

/// Prints without the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::MySql(mysql) => {
                write!(f, "mysql://{}@{}:{}/{}", mysql.user, mysql.host, mysql.port, mysql.database)
            }
            Target::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Target::Null => f.write_str("null:"),
        }
    }
}

impl MySqlTarget {
    /// Whether the server is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Target {
    /// The same, for sessions that can LOAD DATA LOCAL; none where there is no such thing.
    #[must_use]
    pub fn loading(&self) -> Option<Target> {
        match self {
            Target::MySql(mysql) => Some(Target::MySql(MySqlTarget { loads: true, ..mysql.clone() })),
            Target::Sqlite(_) | Target::Null => None,
        }
    }

    /// Reads a target URL. A password in it is kept; whether it may be there is the caller's question.
    ///
    /// # Errors
    /// `Config` naming the part that is missing or unknown.
    pub fn parse(url: &str, tls: Tls) -> Result<Self> {
        if url == "null:" {
            return Ok(Target::Null);
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::config("target sqlite: names no file; write sqlite:FILE"));
            }
            return Ok(Target::Sqlite(PathBuf::from(path)));
        }
        let Some(rest) = url.strip_prefix("mysql://") else {
            return Err(Error::config("the target is none of mysql://user@host:port/database, sqlite:FILE, null:"));
        };
        parse_mysql(rest, tls).map(Target::MySql)
    }
}

fn parse_mysql(rest: &str, tls: Tls) -> Result<MySqlTarget> {
    let shape = || Error::config("the target is not of the form mysql://user@host:port/database");
    let (authority, database) = rest.split_once('/').ok_or_else(shape)?;
    let (login, address) = authority.rsplit_once('@').ok_or_else(shape)?;
    if database.is_empty() || database.contains(['/', '?', '#']) || login.is_empty() {
        return Err(shape());
    }
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(decode_percent(password)?)),
        None => (login, None),
    };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| Error::config("the target's port is not a number"))?)
        }
        _ => (address, 3306),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(shape());
    }
    Ok(MySqlTarget {
        user: decode_percent(user)?,
        password,
        host: host.to_owned(),
        port,
        database: decode_percent(database)?,
        tls,
        answer_max: ANSWER_MAX,
        idle_max: IDLE_MAX,
        loads: false,
    })
}

fn decode_percent(text: &str) -> Result<String> {
    let broken = || Error::config("the target URL has a broken %-escape");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(broken()) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| broken())?);
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(url: &str) -> MySqlTarget {
        match Target::parse(url, Tls::Auto { ca: None }).unwrap() {
            Target::MySql(mysql) => mysql,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_url_is_read_and_printed_without_its_password() {
        let target = mysql("mysql://me:p%40ss@db.example:3307/shop");
        assert_eq!(target.password.as_deref(), Some("p@ss"));
        assert_eq!((target.host.as_str(), target.port, target.database.as_str()), ("db.example", 3307, "shop"));
        assert_eq!(format!("{:?}", Target::MySql(target)), "mysql://me@db.example:3307/shop");
        assert_eq!(mysql("mysql://me@[::1]/shop").host, "::1");
        assert!(mysql("mysql://me@[::1]/shop").is_loopback());
        assert!(!mysql("mysql://me@10.0.0.1/shop").is_loopback());
    }

    #[test]
    fn a_broken_url_is_refused() {
        for url in [
            "mysql://",
            "mysql://host/db",
            "mysql://u@h:x/db",
            "mysql://u@h:1",
            "postgres://u@h/db",
            "sqlite:",
            "mysql://u@h/a/b",
        ] {
            assert!(Target::parse(url, Tls::Off).is_err(), "{url}");
        }
    }
}
