//! A run file that is there, opened or proved.

use super::RunInfo;
use crate::error::Result;
use std::path::Path;

/// What is wrong with a run: its spans are to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is no such file.
    Missing,
    /// It is not what was written; says where.
    Damaged(String),
}

/// A run file: its index is in memory and proved, its blocks are proved as they are read.
#[derive(Debug)]
pub struct Run;

/// Reads the whole file of `info` in the folder `dir` and proves every byte of it. None when it is sound.
///
/// # Errors
/// `Config` when the file is there but may not be read, `Transient` when it cannot be opened for now.
pub fn verify(dir: &Path, info: &RunInfo) -> Result<Option<Damage>> {
    todo!()
}

impl Run {
    /// Opens the file of `info` in the folder `dir` and proves its index.
    ///
    /// # Errors
    /// `Corrupt` when it is missing or not what was written, else those of [`verify`].
    pub fn open(dir: &Path, info: &RunInfo) -> Result<Run> {
        todo!()
    }
}
