//! The server is killed underway and comes back, also without the commits it had acknowledged.

use super::{seeded, while_below};
use crate::support::orders::{Orders, Place, is_soak};
use crate::support::servers::{Kind, Server, ServerOptions};
use std::time::{Duration, Instant};

/// Kills a server `rounds` times, each time during another run; returns the items that it lost in all.
fn kill_underway(orders: &Orders, kind: Kind, flush: u8, rounds: u32) -> u64 {
    let rng = &mut seeded(&format!("{kind:?} killed with flush {flush}"));
    let began = Instant::now();
    let mut server = Server::start(kind, &ServerOptions { flush_log_at_trx_commit: flush, ..ServerOptions::default() });
    let (mut lost, mut cut) = (0, 0);
    for round in 0..rounds {
        let place = Place::on(&server);
        let mut running = orders.engine(&place).spawn();
        running.wait_to_say("items to read");
        std::thread::sleep(while_below(rng, Duration::from_millis(1200)));
        server.kill();
        std::thread::sleep(while_below(rng, Duration::from_millis(300)));
        server.restart();
        let mut outcome = running.wait(Duration::from_secs(300));
        cut += u64::from(outcome.number("/process/connections_lost") > 0);
        lost += outcome.number("/process/items_lost_by_server");
        if outcome.code() == Some(6) {
            // The server forgot that the run was begun at all: so it begins.
            assert!(outcome.stderr.contains("its control rows are gone; start it again"), "{}", outcome.stderr);
            assert_eq!(place.count("SELECT COUNT(*) FROM orders"), 0);
        } else {
            assert_eq!(outcome.code(), Some(0), "round {round}\n{}\n{}", outcome.stdout, outcome.stderr);
        }
        if outcome.code() == Some(6) || outcome.number("/process/connections_lost") == 0 {
            // Perhaps it was complete before the kill; what the server lost of it, a restart finds.
            outcome = orders.engine(&place).run();
        }
        orders.assert_complete(&place, outcome);
    }
    println!(
        "{}, {kind:?}, flush {flush}: {rounds} kills, {cut} underway, {lost} items lost, {:.0?}",
        orders.kind(),
        began.elapsed()
    );
    lost
}

#[test]
fn mysql_killed_during_a_run_costs_nothing() {
    kill_underway(Orders::shared(), Kind::MySql, 1, if is_soak() { 10 } else { 1 });
}

#[test]
fn mysql_that_forgets_commits_is_written_to_again() {
    let lost = kill_underway(Orders::shared(), Kind::MySql, 0, if is_soak() { 25 } else { 2 });
    assert!(lost > 0 || !is_soak(), "no kill cost a commit: this proves nothing");
}

#[test]
fn mariadb_that_forgets_commits_is_written_to_again() {
    let lost = kill_underway(Orders::shared(), Kind::MariaDb, 0, if is_soak() { 25 } else { 2 });
    assert!(lost > 0 || !is_soak(), "no kill cost a commit: this proves nothing");
}

#[test]
fn a_live_table_is_read_anew_from_where_the_ledger_ends() {
    let [_, live] = Orders::both();
    let rounds = if is_soak() { 15 } else { 2 };
    let lost = kill_underway(live, Kind::MariaDb, 0, rounds) + kill_underway(live, Kind::MySql, 0, rounds);
    assert!(lost > 0 || !is_soak(), "no kill cost a commit: this proves nothing");
}
