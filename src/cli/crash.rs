//! Test points: aborts the process at the n-th occurrence of a named event, so that tests can kill it there.
//!
//! `TRANSVASE_ABORT_AT=rows-written:3` ends the process without any cleanup when the third page's rows are written
//! and not yet committed. Not a flag: nobody types it by accident. The names are those of [`Event::name`].

use crate::error::{Error, Result};
use crate::monitor::{Event, Monitor};
use std::sync::atomic::{AtomicI64, Ordering};

/// Aborts at an event.
pub struct Crash {
    name: String,
    left: AtomicI64,
}

impl Crash {
    /// Reads `NAME:N`.
    ///
    /// # Errors
    /// `Config` when it is not of this form.
    pub fn parse(text: &str) -> Result<Self> {
        let broken = || Error::config("TRANSVASE_ABORT_AT is not of the form EVENT:N");
        let (name, count) = text.split_once(':').ok_or_else(broken)?;
        let left = AtomicI64::new(count.parse().map_err(|_| broken())?);
        Ok(Crash { name: name.to_owned(), left })
    }
}

impl Monitor for Crash {
    fn event(&self, event: &Event<'_>) {
        if event.name() == self.name && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
    }
}
