//! The windows are asked for by the command itself: each once, whatever dies, up to a few minutes ago.

use super::{World, moment, rewrite, within};
use crate::incremental::Options;
use crate::support::control_plane::{Answers, ControlPlane, Export, TABLE_ARN};
use crate::support::dynamo::AWS_ENVIRONMENT;
use crate::support::engine::Engine;
use crate::support::orders::{KEY, Place};
use crate::support::s3::S3Server;
use serde_json::json;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A table that was exported 100 minutes ago, its copy, and a service that has not exported anything since.
struct Service {
    world: World,
    place: Place,
    plane: ControlPlane,
    s3: S3Server,
    /// When the copy is of, in seconds since 1970.
    copied: u64,
}

impl Service {
    fn new() -> Service {
        let world = World::new(Options { items: 200, windows: 2, changes: 150, seed: 31, ..Options::default() });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let copied = now - 6000;
        rewrite(
            &world.chain.full,
            &[
                ("2026-01-14T10:18:50", &moment(copied)),
                ("arn:aws:dynamodb:eu-north-1:123456789012:table/orders", TABLE_ARN),
            ],
        );
        let place = world.file("copy.db");
        world.copy(&place);
        let types = KEY.split(',').map(|part| json!({"AttributeName": part.replace(":S", ""), "AttributeType": "S"}));
        let roles = ["HASH", "RANGE"].into_iter();
        let schema = KEY.split(',').zip(roles);
        let schema = schema.map(|(part, role)| json!({"AttributeName": part.replace(":S", ""), "KeyType": role}));
        let table = json!({
            "AttributeDefinitions": types.collect::<Vec<_>>(), "KeySchema": schema.collect::<Vec<_>>(),
        });
        let plane = ControlPlane::start(Answers { table, polls: u32::MAX, ..Answers::default() });
        let s3 = S3Server::start(world.folder.path());
        Service { world, place, plane, s3, copied }
    }

    /// Starts the command in `folder`, where it remembers what it asked for.
    fn follow(&self, folder: &Path) -> Child {
        self.follow_by(folder, &[])
    }

    fn follow_by(&self, folder: &Path, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transvase"));
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(AWS_ENVIRONMENT).args(["follow", "--from", "dynamodb://orders", "--to", &self.place.url()]);
        command.args(["--request-exports", "s3://bucket", "--endpoint-url", &self.plane.url()]);
        command.args(["--export-poll-seconds", "0.01", "--s3-endpoint", &format!("http://{}", self.s3.address)]);
        command.args(args).spawn().unwrap()
    }

    /// Waits until so many exports were asked for; the last of them.
    fn asked(&self, count: usize) -> Export {
        let began = Instant::now();
        loop {
            let exports = self.plane.exports();
            if exports.len() == count {
                return exports.last().unwrap().clone();
            }
            assert!(exports.len() < count && began.elapsed() < Duration::from_secs(200), "{exports:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Puts window `at` of the chain where `export` was asked for.
    fn export(&self, at: usize, export: &Export) {
        let window = &self.world.chain.windows[at];
        let (id, (from, to)) = (export.arn.rsplit('/').next().unwrap(), export.window.unwrap());
        let there = window.folder.with_file_name(id);
        std::fs::rename(&window.folder, &there).unwrap();
        let old = window.folder.file_name().unwrap().to_str().unwrap();
        let span = [moment(window.span.0), moment(window.span.1)];
        rewrite(
            &there,
            &[
                (&format!("exportFromTime\":\"{}", span[0]), &format!("exportFromTime\":\"{}", moment(from))),
                (&format!("exportToTime\":\"{}", span[1]), &format!("exportToTime\":\"{}", moment(to))),
                ("arn:aws:dynamodb:eu-north-1:123456789012:table/orders", TABLE_ARN),
                (old, id),
            ],
        );
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn windows_are_asked_for_once_and_applied_until_what_is_left_is_too_short() {
    let service = Service::new();
    let folder = within(&service.world, "memory");
    std::fs::create_dir(&folder).unwrap();
    // each process dies while it waits; the next one waits for the same export
    let child = service.follow(&folder);
    let first = service.asked(1);
    assert_eq!(first.window, Some((service.copied - 900, service.copied)), "it ends at the copy's time");
    kill(child);
    let child = service.follow(&folder);
    service.export(0, &first);
    service.plane.change(|answers| answers.ended = 1);
    let second = service.asked(2);
    let (from, to) = second.window.unwrap();
    assert_eq!(from, service.copied, "it begins where the one before ended");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(to <= now - 300 && to - from >= 5000, "up to five minutes ago: {from} to {to} at {now}");
    kill(child);
    service.world.assert_is(&service.place, &service.world.chain.windows[0].truth, "after the first window");
    let child = service.follow(&folder);
    service.export(1, &second);
    service.plane.change(|answers| answers.ended = 2);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("caught up with the end of the chain"), "{said}");
    assert_eq!(service.plane.exports().len(), 2, "no window was asked for twice");
    service.world.assert_is(&service.place, service.world.end(), "at the end");
    // what is left is too short for a window
    let output = service.follow(&folder).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(service.plane.exports().len(), 2);
}

#[test]
fn no_window_is_asked_for_that_ends_later_than_one_follows() {
    let service = Service::new();
    let folder = within(&service.world, "until");
    std::fs::create_dir(&folder).unwrap();
    let until = |seconds: u64| service.follow_by(&folder, &["--until", &format!("{}Z", moment(seconds))]);
    let ends = |child: Child| {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    ends(until(service.copied - 1));
    assert_eq!(service.plane.exports().len(), 0, "the first window ends at the copy's time");
    let child = until(service.copied + 1000);
    let first = service.asked(1);
    service.export(0, &first);
    service.plane.change(|answers| answers.ended = 1);
    let second = service.asked(2);
    assert_eq!(second.window, Some((service.copied, service.copied + 1000)));
    kill(child);
    // it is remembered, and ends later than this
    ends(until(service.copied));
    let child = until(service.copied + 1000);
    service.export(1, &second);
    service.plane.change(|answers| answers.ended = 2);
    ends(child);
    assert_eq!(service.plane.exports().len(), 2);
    service.world.assert_is(&service.place, service.world.end(), "at the end");
}

#[test]
fn a_live_table_and_requested_exports_belong_together() {
    let said = |args: &[&str]| Engine::new(&["follow", "--to", "sqlite:x.db"]).args(args).run().expect(2).stderr;
    let alone = said(&["--from", "dynamodb://orders", "--key", KEY]);
    assert!(alone.contains("add --request-exports"), "{alone}");
    let folder = said(&["--from", ".", "--request-exports", "s3://bucket", "--key", KEY]);
    assert!(folder.contains("is for a live table"), "{folder}");
}
