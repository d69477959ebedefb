//! House rules that the compiler does not check: who may import whom, and how a file looks.
//!
//! ARCHITECTURE.md draws the rooms; [`LEVELS`] is that drawing as data. A new room is given a level here, or this fails.

use crate::support::project_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Rooms from the bottom up. A room imports rooms of lower levels only.
const LEVELS: [&[&str]; 15] = [
    &["error"],
    &["model"],
    &["monitor"],
    &["report"],
    &["limit"],
    &["driver", "mapping", "phase", "spill"],
    &["census", "compare", "spool"],
    &["infer"],
    &["checkpoint"],
    &["source", "sink"],
    &["pipeline"],
    &["backfill", "dual", "rejects", "verify"],
    &["follow", "plan"],
    &["control"],
    &["cli", "main"],
];

/// Of a file without its tests: one that needs more is two files.
const LINES_MAX: usize = 500;

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}

/// The room that a file lies in: the first folder or file name under `src/`.
fn room_of(path: &Path) -> String {
    let first = path.components().next().expect("a path has a first part").as_os_str().to_string_lossy();
    first.strip_suffix(".rs").unwrap_or(&first).to_string()
}

/// The code without what is only said in comments.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// The text before the tests at the end of a file.
fn without_tests(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

/// Every room that the code reaches by `crate::room` or `crate::{room::…, room}`, in order of appearance.
fn rooms_reached(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    let mut before = "";
    for (number, rest) in code.split("crate::").enumerate() {
        // `$crate::` and `other_crate::` are something else
        let is_path = number > 0 && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        before = rest;
        match rest.strip_prefix('{') {
            _ if !is_path => {}
            Some(group) => rooms.extend(heads_of_group(group)),
            None => rooms.push(identifier(rest)),
        }
    }
    rooms
}

/// The first identifier of each member of a brace group, of which `text` begins after the opening brace.
fn heads_of_group(text: &str) -> Vec<String> {
    let (mut depth, mut heads, mut member) = (0_usize, Vec::new(), String::new());
    for c in text.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(identifier(std::mem::take(&mut member).trim())),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    heads.push(identifier(member.trim()));
    heads.retain(|head| !head.is_empty());
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// What is wrong with the imports of one file; `path` is relative to `src/`.
fn wrong_imports(path: &Path, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let room = room_of(path);
    if room == "lib" {
        return Vec::new();
    }
    let Some(own) = level(&room) else {
        return vec![format!("src/{}: room `{room}` has no level in tests/tidy.rs", path.display())];
    };
    let mut wrong = Vec::new();
    for reached in rooms_reached(&code) {
        match level(&reached) {
            _ if reached == room => {}
            Some(other) if other < own => {}
            Some(_) => wrong.push(format!("src/{}: `{room}` may not import `{reached}`", path.display())),
            None => wrong.push(format!("src/{}: `{reached}` is no room of tests/tidy.rs", path.display())),
        }
    }
    // climbing out of a room is a way round this test: another room is always called by its name
    let depth = path.with_extension("").components().filter(|part| part.as_os_str() != "mod").count();
    if without_tests(&code).contains(&"super::".repeat(depth)) {
        wrong.push(format!("src/{}: say `crate::room` instead of climbing with `super`", path.display()));
    }
    wrong
}

/// Every Rust file under a folder of the project, with its path relative to that folder.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let root = project_dir().join(folder);
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                files.push((path.strip_prefix(&root).expect("it lies under the root").to_path_buf(), text));
            }
        }
    }
    files.sort();
    files
}

fn all_rust_files() -> Vec<(PathBuf, String)> {
    let under = |folder: &'static str| {
        rust_files(folder).into_iter().map(move |(path, text)| (Path::new(folder).join(path), text))
    };
    ["src", "tests", "benches", "examples"].into_iter().flat_map(under).collect()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_point_down() {
    let files = rust_files("src");
    assert!(files.len() > 10, "the sources were found");
    assert_none(&files.iter().flat_map(|(path, text)| wrong_imports(path, text)).collect::<Vec<_>>());
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    let finds = |path: &str, text: &str| !wrong_imports(Path::new(path), text).is_empty();
    assert!(finds("model/page.rs", "use crate::pipeline::queue;"));
    assert!(finds("model/page.rs", "fn f() -> crate::cli::Config {}"));
    assert!(finds("sink/mysql.rs", "use crate::{error::{Error, Result}, model::page, source::Source};"));
    assert!(finds("sink/mysql.rs", "use crate::{\n    error::Error,\n    pipeline,\n};"));
    assert!(finds("error.rs", "use crate::model::value::Value;"));
    assert!(finds("error.rs", "use super::model;"));
    assert!(finds("model/mod.rs", "use super::cli;"));
    assert!(finds("model/page.rs", "use super::super::cli;"));
    assert!(finds("surprise.rs", ""));
    assert!(finds("cli/mod.rs", "use crate::surprise;"));

    assert!(!finds("pipeline/run.rs", "use crate::{sink::Sink, model::{page::Page}}; use super::queue;"));
    assert!(!finds("error.rs", "//! [`R`](crate::model::R)\n#[cfg(test)]\nmod tests {\n    use super::*;\n}"));
    assert!(!finds("model/value.rs", "use crate::model::number; use my_crate::cli;"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = all_rust_files();
    let silent = files.iter().filter(|(_, text)| !text.starts_with("//!"));
    assert_none(&silent.map(|(path, _)| format!("{}: no //! at its head", path.display())).collect::<Vec<_>>());
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let mut wrong = Vec::new();
    for (path, text) in all_rust_files() {
        let lines = without_tests(&text).lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // in two halves, so that this file does not find itself
    let later = [concat!("todo", "!("), concat!("unimpl", "emented!("), concat!("FIX", "ME"), concat!("#[ign", "ore")];
    let mut wrong = Vec::new();
    for (path, text) in all_rust_files() {
        wrong.extend(
            later.iter().filter(|word| text.contains(**word)).map(|word| format!("{}: {word}", path.display())),
        );
    }
    assert_none(&wrong);
}

/// The lines of README.md that stand in a block of shell commands, without a prompt.
fn readme_commands(text: &str) -> Vec<String> {
    let (mut commands, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside && ["```sh", "```console", "```bash"].contains(&line.trim());
        } else if inside {
            commands.push(line.trim_start_matches("$ ").to_string());
        }
    }
    commands
}

/// The subcommand that a command line gives to the engine, if it calls the engine.
fn subcommand(command: &str) -> Option<&str> {
    let after = |marker: &str| command.split_once(marker).map(|(_, rest)| rest);
    let arguments = after("cargo run --release -- ").or_else(|| command.strip_prefix("transvase "))?;
    arguments.split_whitespace().next().filter(|word| !word.starts_with('-'))
}

#[test]
fn the_commands_of_the_readme_exist() {
    assert_eq!(subcommand("cargo run --release -- backfill --from x"), Some("backfill"));
    assert_eq!(subcommand("transvase plan"), Some("plan"));
    assert_eq!(readme_commands("```sh\n$ tests/run\n```\ntext\n```toml\na = 1\n```"), ["tests/run"]);

    let Ok(text) = fs::read_to_string(project_dir().join("README.md")) else { return };
    let commands = readme_commands(&text);
    assert!(commands.iter().any(|line| line.starts_with("cargo run --release -- backfill")), "{commands:?}");
    assert!(commands.iter().any(|line| line.starts_with("tests/run")), "{commands:?}");
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_transvase")).arg("--help").output().expect("it runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for command in &commands {
        if let Some(verb) = subcommand(command) {
            assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "--help does not know `{verb}`");
        }
        let script = command.split_whitespace().next().filter(|word| word.starts_with("tests/"));
        if let Some(script) = script {
            let mode = fs::metadata(project_dir().join(script)).expect(script).permissions().mode();
            assert_ne!(mode & 0o111, 0, "{script} is not executable");
        }
    }
}
