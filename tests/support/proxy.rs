//! A proxy that damages: cuts connections, stalls them, and answers HTTP requests with 500 or 503 itself. In front of
//! any server on loopback; what speaks no HTTP is only cut and stalled. Seeded: the same seed and the same order of
//! connections give the same faults.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong, in shares from 0 to 1.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Chooses connections, requests and positions.
    pub(crate) seed: u64,
    /// Share of connections that are cut.
    pub(crate) cut: f64,
    /// Share of the other connections that stall: nothing more is sent, and nothing closed.
    pub(crate) stall: f64,
    /// Bytes from the server after which a connection is cut or stalls.
    pub(crate) after: Range<u64>,
    /// Share of HTTP requests that are answered 500 or 503; the server does not see them.
    pub(crate) refuse: f64,
}

/// How many faults there were.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    /// Connections cut.
    pub(crate) cuts: AtomicU64,
    /// Connections stalled.
    pub(crate) stalls: AtomicU64,
    /// Requests refused.
    pub(crate) refusals: AtomicU64,
}

/// A proxy, until it is dropped.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    faults: Mutex<Faults>,
    injected: Injected,
    open: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

impl Proxy {
    /// Starts one in front of `upstream`, on a free port of 127.0.0.1.
    pub(crate) fn start(upstream: SocketAddr, faults: Faults) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            faults: Mutex::new(faults),
            injected: Injected::default(),
            open: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (client, number) in listener.incoming().zip(0_u64..) {
                if accepting.closed.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(client, number));
            }
        });
        Proxy { address, shared }
    }

    /// What goes wrong from the next connection on.
    pub(crate) fn set(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap() = faults;
    }

    /// Cuts every connection there is.
    pub(crate) fn cut_all(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// How many faults there were so far.
    pub(crate) fn injected(&self) -> &Injected {
        &self.shared.injected
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.cut_all();
        drop(TcpStream::connect(self.address));
    }
}

/// What happens to one connection.
enum Fate {
    Lives,
    Cut(u64),
    Stalls(u64),
}

impl Shared {
    fn serve(&self, client: TcpStream, number: u64) {
        let faults = self.faults.lock().unwrap().clone();
        let mut random = Random(faults.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Ok(server) = TcpStream::connect(self.upstream) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let fate = match random.share() {
            share if share < faults.cut => Fate::Cut(random.within(&faults.after)),
            share if share < faults.cut + faults.stall => Fate::Stalls(random.within(&faults.after)),
            _ => Fate::Lives,
        };
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                self.requests(&client, &server, faults.refuse, &mut random);
                gone.store(true, Ordering::Relaxed);
                drop(server.shutdown(Shutdown::Both));
            });
            self.answers(&client, &server, &fate, &gone);
            drop(client.shutdown(Shutdown::Both));
            drop(server.shutdown(Shutdown::Both));
        });
    }

    /// Client to server. With a share to refuse, the client speaks HTTP/1.1, sends one request at a time and no bodies.
    fn requests(&self, mut client: &TcpStream, mut server: &TcpStream, refuse: f64, random: &mut Random) {
        let mut buffer = [0; 16 * 1024];
        let mut head = Vec::new();
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            if refuse == 0.0 {
                if server.write_all(&buffer[..read]).is_err() {
                    return;
                }
                continue;
            }
            head.extend_from_slice(&buffer[..read]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let answered = if random.share() < refuse {
                self.injected.refusals.fetch_add(1, Ordering::Relaxed);
                client.write_all(&refusal(random.share() < 0.5))
            } else {
                server.write_all(&head)
            };
            if answered.is_err() {
                return;
            }
            head.clear();
        }
    }

    /// Server to client.
    fn answers(&self, mut client: &TcpStream, mut server: &TcpStream, fate: &Fate, gone: &AtomicBool) {
        let mut buffer = [0; 16 * 1024];
        let mut sent = 0;
        while let Ok(read @ 1..) = server.read(&mut buffer) {
            let room = match fate {
                Fate::Lives => read,
                Fate::Cut(after) | Fate::Stalls(after) => read.min(usize::try_from(after - sent).unwrap()),
            };
            if client.write_all(&buffer[..room]).is_err() {
                return;
            }
            sent += room as u64;
            match fate {
                Fate::Cut(after) if sent == *after => {
                    self.injected.cuts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Fate::Stalls(after) if sent == *after => {
                    self.injected.stalls.fetch_add(1, Ordering::Relaxed);
                    while !gone.load(Ordering::Relaxed) && !self.closed.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(5));
                    }
                    return;
                }
                _ => {}
            }
        }
    }
}

/// An answer as S3 gives it.
fn refusal(busy: bool) -> Vec<u8> {
    let (status, code) =
        if busy { ("503 Slow Down", "SlowDown") } else { ("500 Internal Server Error", "InternalError") };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>");
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
    [head, body].concat().into_bytes()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn within(&mut self, range: &Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }
}
