//! What keeps an instance from sending too late, from entering too early, and from saying too soon that it has stopped.

use super::attempt::{Failed, bounded, may_be_made, nothing_written, of_write, unknown};
use super::gate::Gate;
use super::options::Options;
use crate::checkpoint::phases::Phase;
use crate::error::{Error, ErrorKind};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

fn phase(step: u8, moving_to: Option<u8>, version: u64) -> Phase {
    Phase { plan: "dynamodb-to-mysql".into(), step, moving_to, generation: 1, version }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Waits for nothing: what may not enter now does not.
fn now() -> Instant {
    Instant::now()
}

#[test]
fn who_slept_until_after_the_end_does_not_send() {
    let sent = AtomicBool::new(false);
    let outcome = run(async {
        let mut asleep = true;
        let work = poll_fn(|_| {
            if std::mem::take(&mut asleep) {
                // the whole process stands still
                std::thread::sleep(Duration::from_millis(60));
                return Poll::Pending;
            }
            sent.store(true, Ordering::Relaxed);
            Poll::Ready(Ok(()))
        });
        let mut bounded = pin!(bounded(now() + Duration::from_millis(50), work));
        // it goes on at once: nobody has looked at timers meanwhile
        poll_fn(|context| match bounded.as_mut().poll(context) {
            Poll::Pending => bounded.as_mut().poll(context),
            ready => ready,
        })
        .await
    });
    assert!(matches!(outcome, Err(Failed::Unknown(_))), "what it was about may be under way");
    assert!(!sent.load(Ordering::Relaxed));
}

#[test]
fn a_write_enters_only_while_the_lease_lives_for_a_whole_request_more() {
    let options = Options::new("app", &["id"]);
    run(async {
        let gate = Gate::new(&options);
        assert_eq!(gate.enter(now(), 0).await.unwrap_err().kind(), ErrorKind::Transient, "nothing is known");
        gate.learn(phase(4, None, 7), now() + options.request / 2);
        assert!(gate.enter(now(), 0).await.is_err());
        assert_eq!(gate.living(now(), 0).await.unwrap().phase.step, 4, "a read asks for less");
        gate.learn(phase(4, None, 7), now());
        assert!(gate.living(now(), 0).await.is_err());
        gate.learn(phase(4, None, 7), now() + HOUR);
        let pass = gate.enter(now(), 7).await.unwrap();
        assert!(pass.until <= now() + options.request);
        assert!(gate.enter(now(), 8).await.is_err(), "a later step is asked for than is known");
        gate.learn(phase(9, None, 8), now() + HOUR);
        assert!(gate.enter(now(), 0).await.unwrap_err().to_string().contains("of a later version"));
    });
}

#[test]
fn it_has_stopped_when_a_barrier_stands_and_nothing_is_in_flight() {
    let options = Options::new("app", &["id"]);
    run(async {
        let gate = Gate::new(&options);
        gate.learn(phase(4, None, 7), now() + HOUR);
        let pass = gate.enter(now(), 0).await.unwrap();
        assert_eq!(gate.stopped(), None);
        gate.learn(phase(4, Some(5), 8), now() + HOUR);
        assert_eq!(gate.stopped(), None, "a write is in flight");
        assert!(gate.enter(now(), 0).await.is_err());
        assert!(gate.living(now(), 0).await.is_ok(), "reads go on");
        drop(pass);
        assert_eq!(gate.stopped(), Some(8));
        gate.nudge.notified().await;
        gate.learn(phase(5, None, 9), now() + HOUR);
        assert_eq!((gate.stopped(), gate.enter(now(), 0).await.unwrap().step.name), (None, "trx-write"));
    });
}

#[test]
fn who_is_locked_out_or_closed_does_not_enter() {
    let options = Options::new("app", &["id"]);
    run(async {
        let gate = Gate::new(&options);
        gate.learn(phase(6, None, 7), now() + HOUR);
        gate.lock_out("why");
        assert_eq!(gate.enter(now(), 0).await.unwrap_err().kind(), ErrorKind::Refused);
        assert!(gate.locked_out() && gate.living(now(), 0).await.is_ok(), "it reads");
        gate.close();
        assert_eq!(gate.living(now(), 0).await.unwrap_err().kind(), ErrorKind::Refused);
    });
}

#[test]
fn an_error_tells_whether_a_write_may_have_been_made() {
    for kind in [ErrorKind::Transient, ErrorKind::Internal] {
        assert!(matches!(of_write(Error::new(kind, "x")), Failed::Unknown(_)), "{kind:?}");
    }
    for kind in [ErrorKind::Config, ErrorKind::Blocked, ErrorKind::Refused, ErrorKind::Corrupt] {
        assert!(matches!(of_write(Error::new(kind, "x")), Failed::Undone(_)), "{kind:?}");
    }
    let error = || Error::new(ErrorKind::Transient, "the connection was lost");
    assert!(may_be_made(&unknown(error())) && unknown(error()).chain().ends_with("the connection was lost"));
    assert!(!may_be_made(&nothing_written(error())) && !may_be_made(&error()));
}

#[test]
fn what_lands_late_lands_before_others_act_on_it() {
    let mut options = Options::new("app", &["id"]);
    assert!(options.check().is_ok() && options.name.starts_with("app-"));
    // sent within a request of an intent, landed within another; the same after a lease; and clocks differ
    assert!(options.ripe() > options.request * 2 && options.told() > options.lease + options.request);
    options.request = options.lease;
    assert!(options.check().is_err());
}
