//! Loads that end in their middle: the connection cut, the process killed. Nothing of them stays, and nothing is missing.

use crate::support::orders::{Orders, Place};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes from the client after which a connection is in the middle of a load: a page is a megabyte, and nothing else that
/// the engine says is as long.
const MIDDLE: u64 = 300_000;

/// What becomes of connections that are in the middle of a load.
#[derive(Clone, Copy)]
enum Harm {
    /// The first so many are cut, later ones go through.
    Cut(u64),
    /// Each stalls until its client is gone.
    Stall,
}

/// A proxy that does harm in the middle of loads.
struct MidLoad {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    harm: Harm,
    reached: AtomicU64,
    closed: AtomicBool,
}

impl MidLoad {
    fn start(upstream: u16, harm: Harm) -> MidLoad {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = SocketAddr::from(([127, 0, 0, 1], upstream));
        let shared = Arc::new(Shared { upstream, harm, reached: AtomicU64::new(0), closed: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(&client));
            }
        });
        MidLoad { port, shared }
    }

    /// Connections that were in the middle of a load.
    fn reached(&self) -> u64 {
        self.shared.reached.load(Ordering::Relaxed)
    }
}

impl Drop for MidLoad {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn serve(&self, mut client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let answers = thread::spawn(move || {
            drop(std::io::copy(&mut from_server, &mut to_client));
            drop(to_client.shutdown(Shutdown::Both));
        });
        let (mut buffer, mut sent, mut met) = (vec![0; 16 * 1024], 0, false);
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            sent += read as u64;
            if sent > MIDDLE && !met {
                met = true;
                let number = self.reached.fetch_add(1, Ordering::Relaxed);
                match self.harm {
                    Harm::Cut(first) if number >= first => {}
                    Harm::Cut(_) => break,
                    Harm::Stall => {
                        while matches!(client.read(&mut buffer), Ok(1..)) {}
                        break;
                    }
                }
            }
            if (&server).write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop(client.shutdown(Shutdown::Both));
        drop(server.shutdown(Shutdown::Both));
        drop(answers.join());
    }
}

fn url_through(place: &Place, port: u16) -> String {
    let Place::Server(database) = place else { panic!("a server") };
    database.url().replace(&format!(":{}/", database.port), &format!(":{port}/"))
}

fn port_of(place: &Place) -> u16 {
    let Place::Server(database) = place else { panic!("a server") };
    database.port
}

#[test]
fn connections_cut_in_the_middle_of_loads_cost_nothing() {
    let orders = Orders::shared();
    for place in Place::servers() {
        let proxy = MidLoad::start(port_of(&place), Harm::Cut(6));
        let engine = orders.engine_to(&place, &url_through(&place, proxy.port)).args(&["--load-method", "load-data"]);
        let outcome = orders.assert_complete(&place, engine.run());
        assert!(proxy.reached() > 6, "no load went through after those that were cut");
        assert!(outcome.number("/process/connections_lost") >= 6);
        assert_eq!(outcome.number("/process/unloadable"), 0, "a lost connection is no reason to insert");
    }
}

#[test]
fn a_process_killed_in_the_middle_of_its_loads_leaves_nothing_of_them() {
    let orders = Orders::shared();
    for place in Place::servers() {
        let proxy = MidLoad::start(port_of(&place), Harm::Stall);
        let engine = orders.engine_to(&place, &url_through(&place, proxy.port)).args(&["--load-method", "load-data"]);
        let mut running = engine.spawn();
        while proxy.reached() == 0 && !running.has_ended() {
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(running.kill().signal(), Some(9));
        assert!(proxy.reached() > 0);
        // small pages may have gone through
        let recorded = "SELECT COALESCE(SUM(span_to - span_from), 0) FROM _transvase_ledger";
        assert_eq!(
            place.count("SELECT COUNT(*) FROM orders"),
            place.count(recorded),
            "a load that never ended left rows"
        );
        // by either method
        let dead =
            orders.engine(&place).args(&["--load-method", "load-data"]).env("TRANSVASE_ABORT_AT", "rows-written:5");
        assert_eq!(dead.run().signal(), Some(6));
        orders.assert_complete(&place, orders.engine(&place).args(&["--load-method", "insert"]).run());
    }
}
