//! An application writes all through copy and follow, and both processes are killed at any moment: once follow says that it is
//! caught up, the target is the table.
//!
//! One seed is one story: which source, whether the follower begins beside the copy, which shape, and when who dies.

mod application;
mod guards;
mod shapes;
mod story;

use crate::support::orders::block_on;
use crate::support::servers::{Kind, shared};
use crate::support::transvase::{Target, soak, sqlite};
use application::Source;
use shapes::Shape;
use std::path::Path;
use std::time::Instant;
use story::{Into, Story};

/// Plays the stories of these seeds, or of those that the environment names (`TRANSVASE_SEEDS=5..9`): to see one again.
fn play(quick: std::ops::Range<u64>, long: u64, story: impl for<'f> Fn(u64, &'f Path) -> Story<'f>) {
    let named = std::env::var("TRANSVASE_SEEDS").ok().map(|text| {
        let (from, to) = text.split_once("..").unwrap();
        from.parse().unwrap()..to.parse().unwrap()
    });
    for seed in named.unwrap_or(if soak() { quick.start..quick.start + long } else { quick }) {
        let (folder, began) = (tempfile::tempdir().unwrap(), Instant::now());
        story(seed, folder.path()).play();
        println!("seed {seed}: {:.1} s", began.elapsed().as_secs_f64());
    }
}

/// Into rows: sources, shapes, and the follower beside the copy or after it by turns.
fn rows(seed: u64, target: Target, folder: &Path) -> Story<'_> {
    Story {
        seed,
        source: if seed & 1 == 0 { Source::emulator(seed) } else { Source::lineages(seed) },
        into: Into::Rows(target, if seed & 2 == 0 { Shape::Typed } else { Shape::Document }),
        beside: seed & 4 == 0,
        deaths: 1 + u32::try_from(seed % 3).unwrap(),
        folder,
    }
}

fn server(kind: Kind) -> Target {
    Target::server(block_on(shared(kind).database()))
}

#[test]
fn a_file_is_the_table_in_the_end() {
    play(0..4, 100, |seed, folder| rows(seed, sqlite(folder), folder));
}

#[test]
fn mysql_is_the_table_in_the_end() {
    play(0..4, 150, |seed, folder| rows(seed, server(Kind::MySql), folder));
}

#[test]
fn mariadb_is_the_table_in_the_end() {
    play(0..2, 150, |seed, folder| rows(seed, server(Kind::MariaDb), folder));
}

#[test]
fn another_table_is_the_table_in_the_end() {
    play(0..2, 100, |seed, folder| Story {
        seed,
        source: Source::emulator(seed),
        into: Into::Items,
        beside: false,
        deaths: 1 + u32::try_from(seed % 3).unwrap(),
        folder,
    });
}
