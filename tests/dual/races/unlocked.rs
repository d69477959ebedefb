//! The delete that is under way while the copy looks at tombstones: it looks under a share lock, and waits. Without the lock, which is
//! the same statements without their last words, it waits for nobody.

use super::super::{application, eventually, key, order, runtime};
use super::copied::{LIMIT, asleep_with_all_read};
use crate::support::orders::Place;
use crate::support::servers::Database;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use transvase::dual::stores::{Item, Items, Rows, Transaction, When};

/// The database's URL by a way on which the look at tombstones keeps its share lock, or loses it. It reads the protocol, so TLS must
/// be off.
fn way_to(database: &Database, locks: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (there, here) = (database.port, listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", there)).unwrap();
            thread::spawn(move || carry(&client, &server, locks));
        }
    });
    database.url().replace(&format!(":{there}/"), &format!(":{here}/"))
}

/// One connection: packet by packet to the server, and back as it comes.
fn carry(mut client: &TcpStream, mut server: &TcpStream, locks: bool) {
    let (table, lock) = (b"_transvase_tombstones", b" LOCK IN SHARE MODE");
    let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let answers = thread::spawn(move || {
        drop(std::io::copy(&mut from_server, &mut to_client));
        drop(to_client.shutdown(Shutdown::Both));
    });
    let mut head = [0; 4];
    while client.read_exact(&mut head).is_ok() {
        let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let mut packet = vec![0; length as usize];
        if client.read_exact(&mut packet).is_err() {
            break;
        }
        if !locks && packet.ends_with(lock) && packet.windows(table.len()).any(|words| words == table) {
            let end = packet.len() - lock.len();
            packet[end..].fill(b' ');
        }
        if server.write_all(&[&head[..], &packet].concat()).is_err() {
            break;
        }
    }
    drop(server.shutdown(Shutdown::Both));
    drop(answers.join());
}

/// An order is being deleted that the copy has read: it is gone from the table, its tombstone is left and its row deleted in a transaction
/// that is committed when the copy waits for it, or has looked. What the target holds of it then.
fn deleting_meanwhile(place: &Place, locks: bool) -> Option<Item> {
    let Place::Server(database) = place else { panic!("this is played on servers") };
    let (server, _, sleeper) = asleep_with_all_read(place, &way_to(database, locks), &["--tls", "off"]);
    let (runtime, deleted) = (runtime(), key(&order(1, 0)));
    let (_, items, rows) = runtime.block_on(application(&server, place, "shop"));
    runtime.block_on(async {
        items.write(&deleted, None, &When::Always).await.unwrap();
        let mut deletes = rows.begin().await.unwrap();
        deletes.guard(&deleted).await.unwrap();
        deletes.prove().await.unwrap();
        deletes.write(&deleted, None).await.unwrap();
        sleeper.signal("CONT");
        match locks {
            true => place.until_someone_waits().await,
            false => eventually("it has looked", async || rows.row(&deleted).await.unwrap().is_some()).await,
        }
        deletes.commit().await.unwrap();
    });
    let outcome = sleeper.wait(LIMIT).expect(0);
    assert_eq!(outcome.number("/outcomes/tombstoned"), u64::from(locks));
    runtime.block_on(rows.row(&deleted)).unwrap()
}

#[test]
fn what_is_being_deleted_while_the_copy_looks_stays_deleted_and_would_not_without_the_share_lock() {
    for locks in [true, false] {
        for place in Place::servers() {
            let there = deleting_meanwhile(&place, locks);
            assert_eq!(there, if locks { None } else { Some(order(1, 1)) }, "locks: {locks}");
        }
    }
}
