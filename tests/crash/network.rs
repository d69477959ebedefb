//! Connections that are cut, also between a COMMIT and its answer, or that swallow everything.

use super::seeded;
use crate::generator::rng::Rng;
use crate::support::engine::Outcome;
use crate::support::orders::{Orders, Place, is_soak};
use crate::support::proxy::{Faults, Proxy};
use crate::support::servers::Database;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Each connection that is swallowed up costs a run as long as it waits for an answer.
const LIMIT: Duration = Duration::from_secs(900);

/// The database's URL through another port.
fn url_through(database: &Database, port: u16) -> String {
    database.url().replace(&format!(":{}/", database.port), &format!(":{port}/"))
}

/// Runs until complete: a fault before the first page ends the process, and the operator runs the same command again.
#[track_caller]
fn run_until_complete(orders: &Orders, place: &Place, port: u16, more: &[&str]) -> (Outcome, u64) {
    let Place::Server(database) = place else { panic!("a server") };
    let url = url_through(database, port);
    let mut lost = 0;
    for _ in 0..60 {
        let outcome = orders.engine_to(place, &url).args(more).spawn().wait(LIMIT);
        lost += outcome.report["process"]["connections_lost"].as_u64().unwrap_or(0);
        if outcome.code() == Some(0) {
            return (outcome, lost);
        }
        assert_eq!(outcome.code(), Some(1), "{}\n{}", outcome.stdout, outcome.stderr);
    }
    panic!("60 runs, and not complete");
}

#[test]
fn cut_connections_cost_nothing() {
    let orders = Orders::shared();
    for (place, seed) in Place::servers().into_iter().zip(1..) {
        let Place::Server(database) = &place else { continue };
        for round in 0..if is_soak() { 20 } else { 1 } {
            let place = if round == 0 { place.clone() } else { Place::servers().swap_remove(usize::from(seed > 1)) };
            let upstream = SocketAddr::from(([127, 0, 0, 1], database.port));
            let faults = Faults { seed: seed + 100 * round, cut: 0.6, after: 3_500..20_000, ..Faults::default() };
            let proxy = Proxy::start(upstream, faults);
            let (outcome, lost) = run_until_complete(orders, &place, proxy.address.port(), &[]);
            orders.assert_complete(&place, outcome);
            let cuts = proxy.injected().cuts.load(Ordering::Relaxed);
            println!("{:?} round {round}: {cuts} cuts, {lost} noticed", database.kind);
            assert!(cuts > 0);
        }
    }
}

#[test]
fn a_network_that_swallows_packets_is_noticed_and_costs_nothing() {
    let orders = Orders::shared();
    let place = Place::servers().swap_remove(0);
    let Place::Server(database) = &place else { panic!("a server") };
    let upstream = SocketAddr::from(([127, 0, 0, 1], database.port));
    let faults = Faults { seed: 5, stall: 0.4, after: 4_000..20_000, ..Faults::default() };
    let proxy = Proxy::start(upstream, faults);
    let (outcome, _) = run_until_complete(orders, &place, proxy.address.port(), &["--answer-seconds", "5"]);
    orders.assert_complete(&place, outcome);
    assert!(proxy.injected().stalls.load(Ordering::Relaxed) > 0);
}

/// A proxy that cuts connections around their COMMITs: before it reaches the server, or before its answer comes back.
/// It reads the protocol, so TLS must be off.
struct CommitCutter {
    port: u16,
    shared: Arc<Cutting>,
}

struct Cutting {
    upstream: SocketAddr,
    random: Mutex<Rng>,
    share_of_16: u64,
    before: AtomicU64,
    after: AtomicU64,
    closed: AtomicBool,
}

impl CommitCutter {
    fn start(upstream: SocketAddr, random: Rng, share_of_16: u64) -> CommitCutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (before, after) = (AtomicU64::new(0), AtomicU64::new(0));
        let closed = AtomicBool::new(false);
        let shared = Arc::new(Cutting { upstream, random: Mutex::new(random), share_of_16, before, after, closed });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let cutting = Arc::clone(&accepting);
                thread::spawn(move || cutting.serve(&client));
            }
        });
        CommitCutter { port, shared }
    }
}

impl Drop for CommitCutter {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Cutting {
    fn serve(&self, mut client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let answers = thread::spawn(move || {
            drop(std::io::copy(&mut from_server, &mut to_client));
            drop(to_client.shutdown(Shutdown::Both));
        });
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            let bytes = &buffer[..read];
            if bytes.ends_with(b"\x03COMMIT") && self.random.lock().unwrap().below(16) < self.share_of_16 {
                if self.random.lock().unwrap().below(2) == 0 {
                    self.before.fetch_add(1, Ordering::Relaxed);
                } else {
                    // Nothing comes back any more, and the server has the statement: whether it commits is its secret.
                    drop(client.shutdown(Shutdown::Both));
                    drop((&server).write_all(bytes));
                    thread::sleep(Duration::from_millis(self.random.lock().unwrap().below(20)));
                    self.after.fetch_add(1, Ordering::Relaxed);
                }
                break;
            }
            if (&server).write_all(bytes).is_err() {
                break;
            }
        }
        drop(client.shutdown(Shutdown::Both));
        drop(server.shutdown(Shutdown::Both));
        drop(answers.join());
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice() {
    let orders = Orders::shared();
    let mut rng = seeded("cut commits");
    for place in Place::servers() {
        let Place::Server(database) = &place else { continue };
        for round in 0..if is_soak() { 20 } else { 2 } {
            let place = if round == 0 {
                place.clone()
            } else {
                Place::servers()
                    .into_iter()
                    .find(|other| matches!(other, Place::Server(d) if d.kind == database.kind))
                    .unwrap()
            };
            let upstream = SocketAddr::from(([127, 0, 0, 1], database.port));
            let cutter = CommitCutter::start(upstream, Rng::new(rng.next(), round), 6);
            let (outcome, lost) = run_until_complete(orders, &place, cutter.port, &["--tls", "off"]);
            orders.assert_complete(&place, outcome);
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (before, after) = (count(&cutter.shared.before), count(&cutter.shared.after));
            println!(
                "{:?}: {before} commits cut before, {after} after the server had them; {lost} noticed",
                database.kind
            );
            assert!(before > 0 && after > 0);
        }
    }
}
