//! The limiter's rules, one by one. How they work together is the simulation's matter (`tests/simulate.rs`).

use super::*;

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn ask(key: u32, need: u64) -> Ask {
    Ask { key, need, estimate: 10.0 }
}

fn reason(text: &str, resource: &str) -> ThrottleReason {
    ThrottleReason::parse(text, resource)
}

/// Polls until something is granted; what, and when.
fn granted(limiter: &mut Limiter, mut now: Duration) -> (Vec<Ticket>, Duration) {
    for _ in 0..100 {
        let poll = limiter.poll(now);
        if !poll.granted.is_empty() {
            return (poll.granted, now);
        }
        now = poll.next.expect("somebody waits");
    }
    panic!("nothing is granted within a hundred polls");
}

#[test]
fn failures_are_not_taken_for_hot_key_ranges() {
    let mut limiter = Limiter::new(Rate::UNLIMITED, at(0.0));
    let ticket = limiter.ask(ask(0, 1), at(0.0));
    assert_eq!(limiter.poll(at(0.0)).granted, [ticket]);
    limiter.settle(ticket, Outcome::Unknown, at(0.1));
    limiter.ask(ask(0, 1), at(0.1));
    assert!(limiter.poll(at(0.1)).granted.is_empty());
    assert_eq!(limiter.limited_by(at(0.1)), Some(LimitedBy::Failures));
}

#[test]
fn processes_take_equal_parts_of_every_budget() {
    let mut limiter = Limiter::new(Rate::per_second(100.0), at(0.0));
    limiter.set_index_rate("known", Rate::per_second(50.0), at(0.0));
    limiter.share_among(2, at(1.0));
    limiter.set_index_rate("new", Rate::per_second(20.0), at(1.0));
    assert_eq!(limiter.rate(at(1.0)).units(), 50.0);
    let parts: Vec<f64> = limiter.indexes.iter().map(|index| index.resource.rate(at(1.0))).collect();
    assert_eq!(parts, [25.0, 10.0]);
    limiter.set_rate(Rate::UNLIMITED, at(2.0));
    assert!(!limiter.rate(at(2.0)).is_limited());
}

#[test]
fn the_neediest_passes_first_and_of_equals_the_oldest() {
    let mut limiter = Limiter::new(Rate::per_second(10.0), at(0.0));
    let asks = [ask(0, 5), ask(1, 9), ask(2, 9), ask(3, 7)].map(|ask| limiter.ask(ask, at(0.0)));
    let (mut order, mut now) = (Vec::new(), at(0.0));
    while order.len() < 4 {
        let (tickets, then) = granted(&mut limiter, now);
        assert_eq!(tickets.len(), 1, "the first of them takes the bucket into debt");
        order.extend(tickets);
        now = then;
    }
    assert_eq!(order, [asks[1], asks[2], asks[3], asks[0]]);
    assert!(now > at(3.0) && now < at(3.3), "each estimate is waited for: {now:?}");
}

#[test]
fn what_a_page_really_cost_takes_the_place_of_its_estimate() {
    let mut limiter = Limiter::new(Rate::per_second(10.0), at(0.0));
    limiter.ask(ask(0, 0), at(0.0));
    let (tickets, now) = granted(&mut limiter, at(0.0));
    limiter.settle(tickets[0], Outcome::Charged(100.0), now);
    limiter.ask(ask(0, 0), now);
    let (tickets, then) = granted(&mut limiter, now);
    assert!(then - now > at(9.9), "a hundred units are ten seconds' worth");
    limiter.settle(tickets[0], Outcome::Charged(1.0), then);
    limiter.ask(ask(0, 0), then);
    assert!(granted(&mut limiter, then).1 - then < at(0.2));
}

#[test]
fn a_key_range_throttle_slows_its_own_key_only() {
    let mut limiter = Limiter::new(Rate::UNLIMITED, at(0.0));
    limiter.ask(ask(0, 9), at(1.0));
    let (tickets, _) = granted(&mut limiter, at(1.0));
    let hot = [reason("TableReadKeyRangeThroughputExceeded", "arn")];
    limiter.settle(tickets[0], Outcome::Throttled(&hot), at(1.1));
    let slowed = limiter.ask(ask(0, 9), at(1.1));
    let other = limiter.ask(ask(1, 1), at(1.1));
    assert_eq!(limiter.poll(at(1.1)).granted, [other], "although the other one needs it more");
    assert_eq!(limiter.limited_by(at(1.1)), Some(LimitedBy::KeyRange(1)));
    assert!(limiter.ready_at(0, at(1.1)) > at(1.1));
    assert_eq!(granted(&mut limiter, at(1.1)).0, [slowed]);
}

#[test]
fn a_table_throttle_slows_everybody_once_for_what_was_under_way_together() {
    let mut limiter = Limiter::new(Rate::per_second(1000.0), at(0.0));
    let mut now = at(0.0);
    for _ in 0..200 {
        limiter.ask(ask(0, 0), now);
        let (tickets, then) = granted(&mut limiter, now);
        limiter.settle(tickets[0], Outcome::Charged(10.0), then);
        now = then;
    }
    let table = [reason("TableReadProvisionedThroughputExceeded", "arn")];
    let tickets: Vec<_> = (0..3).map(|key| limiter.ask(ask(key, 0), now)).collect();
    while limiter.sent.len() < tickets.len() {
        now = limiter.poll(now).next.unwrap_or(now);
    }
    for ticket in tickets {
        limiter.settle(ticket, Outcome::Throttled(&table), now + at(0.1));
    }
    let rate = limiter.rate(now + at(0.1)).units();
    assert!(rate > 400.0 && rate < 900.0, "cut once: {rate}");
    limiter.ask(ask(5, 0), now + at(0.1));
    assert!(limiter.poll(now + at(0.1)).granted.is_empty(), "the flow rests");
    assert_eq!(limiter.limited_by(now + at(0.1)), Some(LimitedBy::Throttled(table[0].clone())));
}

#[test]
fn an_index_throttle_names_the_index_and_slows_what_feeds_it() {
    let mut limiter = Limiter::new(Rate::per_second(1000.0), at(0.0));
    limiter.set_index_rate("by-date", Rate::per_second(20.0), at(0.0));
    let mut now = at(0.0);
    let charged = [("by-date".to_string(), 10.0)];
    for _ in 0..50 {
        limiter.ask(ask(0, 0), now);
        let (tickets, then) = granted(&mut limiter, now);
        let outcome = Outcome::Written { units: 20.0, indexes: &charged, unprocessed: false };
        limiter.settle(tickets[0], outcome, then);
        now = then;
    }
    assert!(now > at(24.0) && now < at(26.0), "an index's budget limits its table: {now:?}");
    limiter.ask(ask(0, 0), now);
    limiter.poll(now);
    assert_eq!(limiter.limited_by(now), Some(LimitedBy::IndexBudget("by-date".to_string())));

    let slow = [reason("IndexWriteProvisionedThroughputExceeded", "arn:…:table/t/index/by-date")];
    let (tickets, now) = granted(&mut limiter, now);
    limiter.settle(tickets[0], Outcome::Throttled(&slow), now + at(0.1));
    limiter.ask(ask(0, 0), now + at(0.1));
    assert_eq!(limiter.limited_by(now + at(0.1)), Some(LimitedBy::Throttled(slow[0].clone())));
}

#[test]
fn an_index_that_is_not_fed_does_not_hold_its_table_back() {
    let mut limiter = Limiter::new(Rate::per_second(1000.0), at(0.0));
    limiter.set_index_rate("sparse", Rate::per_second(5.0), at(0.0));
    let mut now = at(0.0);
    for _ in 0..300 {
        limiter.ask(ask(0, 0), now);
        let (tickets, then) = granted(&mut limiter, now);
        limiter.settle(tickets[0], Outcome::Written { units: 10.0, indexes: &[], unprocessed: false }, then);
        now = then;
    }
    assert!(now < at(20.0), "{now:?}");
}

#[test]
fn throttles_without_a_reason_are_the_keys_until_a_second_key_meets_them() {
    let mut limiter = Limiter::new(Rate::per_second(1000.0), at(0.0));
    let tickets: Vec<_> = (0..2).map(|key| limiter.ask(Ask { estimate: 1.0, ..ask(key, 0) }, at(1.0))).collect();
    assert_eq!(limiter.poll(at(1.0)).granted.len(), 2);
    limiter.settle(tickets[0], Outcome::Throttled(&[]), at(1.1));
    assert_eq!(limiter.rate(at(1.1)).units(), 1000.0);
    limiter.settle(tickets[1], Outcome::Throttled(&[]), at(1.2));
    assert!(limiter.rate(at(1.2)).units() < 1000.0);
}

#[test]
fn an_unknown_outcome_is_charged_and_rests_its_key() {
    let mut limiter = Limiter::new(Rate::per_second(10.0), at(0.0));
    limiter.ask(ask(0, 0), at(0.0));
    let (tickets, now) = granted(&mut limiter, at(0.0));
    limiter.settle(tickets[0], Outcome::Unknown, now);
    limiter.ask(ask(1, 0), now);
    assert!(granted(&mut limiter, now).1 - now > at(0.9), "it may have cost what was estimated");
    assert_eq!(limiter.rate(now).units(), 10.0);
}

#[test]
fn what_is_cancelled_takes_nothing() {
    let mut limiter = Limiter::new(Rate::per_second(10.0), at(0.0));
    let waiting = limiter.ask(ask(0, 0), at(0.0));
    limiter.cancel(waiting, at(0.0));
    assert_eq!(limiter.poll(at(1.0)).granted, []);
    limiter.ask(ask(0, 0), at(1.0));
    let (tickets, now) = granted(&mut limiter, at(1.0));
    limiter.cancel(tickets[0], now);
    limiter.ask(ask(1, 0), now);
    assert_eq!(granted(&mut limiter, now).1, now);
    assert_eq!(limiter.limited_by(now), None, "nobody waits");
}

#[test]
fn a_page_is_a_small_part_of_what_may_pass_in_a_second() {
    let mut limiter = Limiter::new(Rate::per_second(1000.0), at(0.0));
    assert_eq!(limiter.page_most(0, at(0.0)), 50.0);
    limiter.set_rate(Rate::per_second(100.0), at(0.0));
    assert_eq!(limiter.page_most(0, at(0.0)), 8.0);
    limiter.set_rate(Rate::per_second(2.5), at(0.0));
    assert_eq!(limiter.page_most(0, at(0.0)), 1.25);
    limiter.set_rate(Rate::UNLIMITED, at(0.0));
    assert!(limiter.page_most(0, at(0.0)).is_infinite());
}
