//! What can go wrong with the world, named by what the caller does next.
//!
//! Rules, so that every failure reads alike:
//! - A bad *item* is never an error: it is a [`Reject`](crate::model::reject::Reject), a value with a reason.
//! - `Display` prints only this error; the cause is in `source()`, and `main` prints the chain.
//! - Messages are lowercase, without a full stop, name the kind of thing and its id, and say the next step.
//! - No message holds an item's value or a password.

use std::fmt;

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Fix what was typed or configured, then run again. Nothing was written.
    Config,
    /// The same call may succeed later: retry with backoff.
    Transient,
    /// The server cannot take writes for now (full disk, read only, privilege lost): pause, then stop.
    Blocked,
    /// An interlock forbids it (a lost lease, a foreign run, a changed target): stop, write nothing more.
    Refused,
    /// The data is not what it claims to be: stop this unit, a human looks.
    Corrupt,
    /// A bug or a state that should not exist.
    Internal,
}

/// An error of the engine: its kind decides what happens, its message is for the operator.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`, said in one line.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    /// Shorthand for [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Config, message)
    }

    /// Shorthand for [`ErrorKind::Refused`].
    pub fn refused(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Refused, message)
    }

    /// Shorthand for [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }

    /// Keeps the cause; it is printed after this message.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller does next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message and every cause, on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
