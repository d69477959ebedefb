//! What the tests lean on: real servers on loopback, and paths into `target/`.
//!
//! Promises: whatever is started here is stopped when the test process ends, however it ends, and its files go with it.
//! Must not know: anything of the engine under test, so that the engine's mistakes cannot hide in its test bench.

pub(crate) mod canon;
pub(crate) mod control_plane;
pub(crate) mod dynamo;
pub(crate) mod dynamo_proxy;
pub(crate) mod engine;
pub(crate) mod front;
pub(crate) mod http;
pub(crate) mod orders;
pub(crate) mod proxy;
pub(crate) mod s3;
pub(crate) mod servers;
pub(crate) mod small_export;
pub(crate) mod streams_server;
pub(crate) mod transvase;

use std::path::{Path, PathBuf};

/// The target folder that this test binary was built into.
pub(crate) fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the temporary folder lies in target/").to_path_buf()
}

/// The project's root, where `fixtures/`, `src/` and `README.md` are.
pub(crate) fn project_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
