//! How far a follower is behind, told to the migration that it replays for, about once a second.

use super::super::progress::Progress;
use crate::backfill::replaying::Teller;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between two tellings: one statement each.
const EVERY: Duration = Duration::from_secs(1);

/// Tells until the guard is dropped.
pub(in crate::cli) fn teller(teller: Option<Teller>, progress: &Arc<Progress>) -> Option<DropGuard> {
    let teller = teller?;
    let (over, progress) = (CancellationToken::new(), Arc::clone(progress));
    let ended = over.clone();
    tokio::spawn(async move {
        while tokio::time::timeout(EVERY, ended.cancelled()).await.is_err() {
            let usage = || progress.source().usage().stream.unwrap_or_default();
            // one that does not tell is taken for one that is not there
            if let Err(error) = teller.tell(usage).await {
                tracing::warn!("telling how far the replay is behind: {}", error.chain());
            }
        }
    });
    Some(over.drop_guard())
}
