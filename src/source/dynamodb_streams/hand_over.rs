//! Joining on to a copy that was made without a capture: what the stream still keeps from before is only counted, since it
//! is in the copy, or in a window that was applied to it. Pure, but for the capture that is taken anew.
//!
//! Promises: no change made at or after the hand-over's moment is passed over; as long as that moment is safe before the
//! horizon, nothing that the service has trimmed is missed, wherever in the stream it was.

use super::capture::{Capture, PLACE_KEPT};
use super::{DynamoDbStreams, wall};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How long ago a change may have been made at most, in seconds, for the stream to be sure to hold it still: four hours less than
/// it promises.
pub const SAFE_SECONDS: u64 = PLACE_KEPT;

/// Where a stream joins on to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The incarnation of the copy's run.
    pub copy: u64,
    /// What was made before this moment, in seconds since 1970, is in the target.
    pub from: u64,
}

impl HandOver {
    /// Whether a change made then is in the target. One that does not say when is done: all that follow it are too.
    #[must_use]
    pub fn has(&self, created: Option<u64>) -> bool {
        created.is_some_and(|created| created < self.from)
    }

    /// Whether whatever the stream no longer holds at `now` is in the target.
    #[must_use]
    pub fn is_safe(&self, now: u64) -> bool {
        now.saturating_sub(self.from) <= SAFE_SECONDS
    }
}

impl DynamoDbStreams {
    /// When the stream was switched on, in seconds since 1970; none where the service does not tell.
    #[must_use]
    pub fn created(&self) -> Option<u64> {
        self.created
    }

    /// Begins with the oldest change that the stream still keeps, and does what was made from the hand-over on.
    ///
    /// # Errors
    /// As opening with [`Begin::Horizon`](super::Begin); `Internal` once it is read.
    pub fn join(&mut self, hand_over: HandOver) -> Result<()> {
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(Error::internal("following has begun")) };
        let known = shared.listing.known();
        shared.capture = Capture::joining(&shared.capture.stream, &known.tree, wall(), hand_over)?;
        self.cut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_before_is_in_the_target_and_what_does_not_say_when_may_not_be() {
        let hand_over = HandOver { copy: 1, from: 1000 };
        assert!(hand_over.has(Some(999)) && !hand_over.has(Some(1000)) && !hand_over.has(None));
        assert!(hand_over.is_safe(900) && hand_over.is_safe(1000 + SAFE_SECONDS));
        assert!(!hand_over.is_safe(1001 + SAFE_SECONDS));
    }
}
