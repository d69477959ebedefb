//! What each level catches and what it misses, as the README has it; and that a level reads no more than it must.

use super::bench::{Bench, TABLES};
use super::{figure, found};
use crate::generator::export::{self, Options};
use crate::generator::items::Shape;
use crate::support::engine::Engine;
use crate::support::orders::{Orders, Place, is_soak};

#[test]
fn a_clean_table_of_any_shape_is_clean_at_every_level() {
    let shapes = [
        (Shape::Awkward, "pk:S,sk:S"),
        (Shape::AwkwardBinary, "pk:B,sk:B"),
        (Shape::AwkwardNumber, "pk:N,sk:N"),
        (Shape::Random, "pk:S,sk:N"),
    ];
    for (shape, key) in shapes {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("export");
        let items = if is_soak() { 4000 } else { 400 };
        export::write(&Options { out: out.clone(), shape, items, files: 3, seed: 5, ..Options::default() }).unwrap();
        for place in Place::all(folder.path()) {
            let engine = |verb: &str| {
                let engine = Engine::new(&[verb, "--from", out.to_str().unwrap(), "--key", key, "--to", &place.url()]);
                match &place {
                    Place::Server(database) => engine.env("MYSQL_PWD", database.password()),
                    Place::File(_) => engine,
                }
                .report()
            };
            let loaded = engine("backfill").args(&["--max-rejects", "100%"]).run();
            let rejected = loaded.number("/outcomes/rejected");
            for level in ["full", "digest", "counts"] {
                let outcome = engine("verify").args(&["--level", level]).run().expect(0);
                assert_eq!(outcome.report["status"], "clean", "{key} {level}");
                assert_eq!(outcome.number("/rejected"), rejected, "{key} {level}");
                assert_eq!(figure(&outcome, "equal"), loaded.number("/outcomes/written"), "{key} {level}");
            }
        }
    }
}

#[test]
fn a_server_digests_what_is_clean_and_nothing_is_read() {
    let bench = Bench::new();
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::servers() {
        bench.load(&place);
        let outcome = bench.verify(&place, &["--level", "digest"]).expect(0);
        assert_eq!(figure(&outcome, "walked"), 0, "{}", outcome.report);
        assert_eq!(outcome.number("/tables/1/walked"), outcome.number("/tables/1/target"), "a double is read");
    }
    for place in Place::servers() {
        orders.engine(&place).run().expect(0);
        let state = folder.path().join("orders.db");
        let outcome = orders.verify(&place, &state).args(&["--level", "digest"]).run().expect(0);
        assert_eq!(figure(&outcome, "walked"), 0, "{}", outcome.report);
        // one range of two differs, and that one is read
        place.execute("DELETE FROM orders ORDER BY customer_id, order_id LIMIT 1");
        let outcome = orders.verify(&place, &state).args(&["--level", "digest"]).run().expect(5);
        let walked = figure(&outcome, "walked");
        assert!(0 < walked && walked < orders.items, "{}", outcome.report);
        assert_eq!(figure(&outcome, "missing"), 1);
    }
}

#[test]
fn counts_see_numbers_and_no_values() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let differences = || found(&bench.state(), &TABLES).len();
    for place in Place::all(folder.path()) {
        bench.load(&place);
        place.execute("UPDATE things SET name = 'another'");
        bench.verify(&place, &["--level", "counts"]).expect(0);
        place.execute("DELETE FROM things WHERE id = 't3'");
        bench.verify(&place, &["--level", "counts"]).expect(5);
        assert_eq!(differences(), 7, "the keys are told");
        // As many more as fewer in one range of keys: the numbers are what they were.
        place.execute("INSERT INTO things SELECT 't3', 1000 + seq, name, amount, count, data, note, doc, plain, flag, at, day, rest FROM clean_things WHERE id = 't3'");
        bench.verify(&place, &["--level", "counts"]).expect(0);
        bench.verify(&place, &["--level", "full"]).expect(5);
        assert!(differences() >= 14);
    }
}

#[test]
fn a_sample_looks_up_what_it_has_read_and_no_extras() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    for place in Place::all(folder.path()) {
        bench.load(&place);
        place.execute("DELETE FROM things WHERE id = 't3'; UPDATE things SET name = 'x' WHERE id = 't4'");
        place.execute("INSERT INTO ghosts SELECT 'ghost', 5");
        let all = bench.verify(&place, &["--sample", "100%"]).expect(5);
        assert_eq!((figure(&all, "missing"), figure(&all, "different")), (7, 7), "{}", all.report);
        assert_eq!(found(&bench.state(), &TABLES).len(), 14);
        assert!(all.stdout.contains("were not looked for"), "{}", all.stdout);
        let some = bench.verify(&place, &["--sample", "50%", "--seed", "1"]);
        let read = some.number("/read");
        assert!(0 < read && read < all.number("/read"), "{}", some.report);
        assert!(figure(&some, "missing") <= 7 && found(&bench.state(), &TABLES).len() <= 14);
        bench.verify(&place, &["--sample", "10%", "--level", "digest"]).expect(2);
    }
}

#[test]
fn what_cannot_be_verified_is_refused_in_words() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    let refused = bench.verify(&place, &[]).expect(2);
    assert!(refused.stderr.contains("table things is not there"), "{}", refused.stderr);
    bench.load(&place);
    let state = bench.engine("verify", &place).args(&["--state", "null:"]).run().expect(2);
    assert!(state.stderr.contains("would forget the verification"), "{}", state.stderr);
    let out = folder.path().join("export");
    export::write(&Options { out: out.clone(), items: 1, files: 1, ..Options::default() }).unwrap();
    let key = ["--key", "customer_id:S,order_id:S", "--to", "null:"];
    let refused = Engine::new(&["verify", "--from", out.to_str().unwrap()]).args(&key).run().expect(2);
    assert!(refused.stderr.contains("null: cannot be verified"), "{}", refused.stderr);
}

#[test]
fn an_unfinished_verification_is_bound_and_a_finished_one_begins_anew() {
    let orders = Orders::shared();
    let folder = tempfile::tempdir().unwrap();
    let place = Place::File(folder.path().join("target.db"));
    orders.engine(&place).run().expect(0);
    let state = folder.path().join("state.db");
    let verify = || orders.verify(&place, &state);
    let died = verify().env("TRANSVASE_ABORT_AT", "load-begun:1").run();
    assert_eq!(died.code(), None);
    let other = verify().args(&["--level", "digest"]).run().expect(6);
    assert!(other.stderr.contains("another target, level or sample"), "{}", other.stderr);
    let resumed = verify().run().expect(0);
    assert!(resumed.stderr.contains("resuming: 30000 of") || is_soak(), "{}", resumed.stderr);
    verify().args(&["--level", "digest"]).run().expect(0);
    place.execute("DELETE FROM orders WHERE order_id LIKE '%77'");
    assert!(figure(&verify().run().expect(5), "missing") > 0, "it is compared anew");
    // The verification writes nothing to the target.
    assert_eq!(place.count("SELECT COUNT(*) FROM _transvase_runs"), 1);
}
