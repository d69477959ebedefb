//! How long to wait before a request is made again. Pure: randomness is an argument.

use std::time::Duration;

/// The longest wait, before jitter: S3's own throttling eases within seconds, a failover within a minute.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The wait after the given number of failures in a row (from 1): `first`, doubled each time, then a share of it
/// between a half and all, chosen by `random` in 0..1, so that many readers do not come back together.
pub(super) fn wait(failures: u32, first: Duration, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = first.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread() {
        let first = Duration::from_millis(200);
        assert_eq!(wait(1, first, 1.0), first);
        assert_eq!(wait(2, first, 1.0), first * 2);
        assert_eq!(wait(3, first, 0.0), first * 2);
        assert_eq!(wait(8, first, 1.0), LONGEST_WAIT);
        assert_eq!(wait(u32::MAX, first, 1.0), LONGEST_WAIT);
    }
}
