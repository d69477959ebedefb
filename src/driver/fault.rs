//! What a database said no with, sorted by what to do next. Classified once, here; nobody else reads error codes.

use crate::error::{Error, ErrorKind};

/// What to do after a statement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A deadlock or a lock wait: roll the transaction back and do it again.
    Retry,
    /// The connection is gone, or the server is going: reconnect, and believe nothing that is not read back.
    Lost,
    /// A row with this key is there already.
    Duplicate,
    /// One of the listed errors that condemn a value of the row. Nothing else may reject an item.
    Value,
    /// Full disk, read-only server, privilege lost: pause, then stop. Rejects nothing.
    Blocked,
    /// The server does not let us in, or does not know the database.
    Denied,
    /// Anything else: stop.
    Other,
}

/// A failed statement. The message may quote values: it goes into stored rejects, never into logs.
#[derive(Debug)]
pub struct Fault {
    /// What to do.
    pub kind: FaultKind,
    /// The server's error code.
    pub code: String,
    /// The server's message.
    pub message: String,
}

/// A statement's result.
pub type FaultResult<T> = Result<T, Fault>;

impl Fault {
    /// A fault of `kind` with the server's code and message.
    pub fn new(kind: FaultKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Fault { kind, code: code.into(), message: message.into() }
    }

    /// Whether its session is of no more use: the connection is, or the server, which takes no writes any more as one does that is
    /// no longer the primary; what the session is connected to by name may be another by now.
    #[must_use]
    pub fn spoils_session(&self) -> bool {
        self.kind == FaultKind::Lost || matches!(self.code.as_str(), "1290" | "1792" | "1836")
    }

    /// Whether a server said it, and so gave it a number; otherwise the code names a part of ours.
    fn has_number(&self) -> bool {
        self.code.parse::<i64>().is_ok()
    }

    /// The engine's error for a fault met while doing `what`. Messages that may quote a value are left out.
    #[must_use]
    pub fn into_error(self, what: &str) -> Error {
        let (kind, advice) = match self.kind {
            FaultKind::Retry => (ErrorKind::Transient, "run the same command again to resume"),
            FaultKind::Lost => {
                (ErrorKind::Transient, "see that the server is up and can be reached, then run the same command again")
            }
            FaultKind::Blocked => {
                (ErrorKind::Blocked, "make room or restore the privilege, then run the same command again")
            }
            FaultKind::Denied => (ErrorKind::Config, "check the user, the password, the database and the TLS options"),
            FaultKind::Duplicate | FaultKind::Value | FaultKind::Other => {
                (ErrorKind::Internal, "nothing of it was written")
            }
        };
        let number = if self.has_number() { format!("error {}", self.code) } else { String::new() };
        let said = match self.kind {
            FaultKind::Value | FaultKind::Duplicate => number,
            _ if number.is_empty() => self.message,
            _ => format!("{number}: {}", self.message),
        };
        Error::new(kind, format!("{what}: {said} ({advice})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_to_a_server_that_is_no_primary_any_more_is_of_no_more_use() {
        let spoils = |kind, code: &str| Fault::new(kind, code, "").spoils_session();
        assert!(spoils(FaultKind::Lost, "connection"));
        for code in ["1290", "1792", "1836"] {
            assert!(spoils(FaultKind::Blocked, code), "{code}");
        }
        assert!(!spoils(FaultKind::Blocked, "1114"), "a full table is not another server's");
        assert!(!spoils(FaultKind::Retry, "1213"));
    }
}
