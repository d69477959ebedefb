//! Objects in a folder. A file is hashed through the same open handle that it is read through afterwards, so a file
//! swapped in between is not noticed because it does not matter; a file written to in between is noticed.

use super::Md5;
use super::fetched::{Fetched, Stamp};
use crate::error::{Error, ErrorKind, Result};
use md5::Digest;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Component, Path, PathBuf};

/// Bytes a hash pass reads at once: large enough that system calls cost nothing, small enough to stay in cache.
const HASH_BUFFER_BYTES: usize = 256 * 1024;

/// A folder of objects.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Folder {
        Folder { root }
    }

    pub(super) fn name(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }

    pub(super) fn read(&self, key: &str, cap: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(key)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(cap.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| read_error(&self.name(key), error))?;
        if bytes.len() as u64 > cap {
            return Err(Error::corrupt(format!("file {} holds more than {cap} bytes", self.name(key))));
        }
        Ok(Some(bytes))
    }

    pub(super) fn fetch(&self, key: &str, expected: Md5) -> Result<Option<Fetched>> {
        let Some(mut file) = self.open(key)? else { return Ok(None) };
        let name = self.name(key);
        let (stamp, found, len) = hash(&mut file).map_err(|error| read_error(&name, error))?;
        if found != expected {
            return Err(Error::corrupt(format!(
                "file {name} is damaged: its {len} bytes have MD5 {found}, the manifest says {expected}; \
                 copy it again from the export"
            )));
        }
        let fetched = Fetched::shared(name, file, stamp);
        fetched.check_unchanged()?;
        Ok(Some(fetched))
    }

    pub(super) fn folders(&self, below: &str) -> Result<Vec<String>> {
        let path = self.root.join(below);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            entries => entries.map_err(|error| read_error(&path.display().to_string(), error))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| read_error(&path.display().to_string(), error))?;
            if entry.path().is_dir() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The open file; none when there is none, or when the key cannot be the name of a file below the root.
    fn open(&self, key: &str) -> Result<Option<File>> {
        let path = Path::new(key);
        let below = !key.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)));
        if !below {
            return Ok(None);
        }
        match File::open(self.root.join(path)) {
            Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_dir()) => Ok(None),
            Ok(file) => Ok(Some(file)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(read_error(&self.name(key), error)),
        }
    }
}

/// Hashes the file and goes back to its start.
fn hash(file: &mut File) -> io::Result<(Stamp, Md5, u64)> {
    let stamp = Stamp::of(file)?;
    let mut hasher = md5::Md5::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut len = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                len += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.rewind()?;
    Ok((stamp, Md5::finish(hasher), len))
}

/// A file that is there and cannot be read.
pub(super) fn read_error(name: &str, error: io::Error) -> Error {
    let (kind, step) = match error.kind() {
        io::ErrorKind::PermissionDenied => (ErrorKind::Config, "give this user the right to read it"),
        _ => (ErrorKind::Transient, "check the disk, then run again"),
    };
    Error::new(kind, format!("file {name} cannot be read: {step}")).because(error)
}

#[cfg(test)]
mod tests {
    use super::super::Objects;
    use super::*;
    use std::io::Write;

    fn folder_with(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Objects) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let objects = Objects::folder(folder.path());
        (folder, objects)
    }

    #[test]
    fn a_proved_file_is_read_from_its_start() {
        let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let (_folder, objects) = folder_with("a", &bytes);
        let mut read = Vec::new();
        let mut fetched = objects.fetch("a", Md5::of(&bytes)).unwrap().unwrap();
        fetched.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        fetched.check_unchanged().unwrap();
    }

    #[test]
    fn one_flipped_bit_anywhere_is_corrupt() {
        let good = b"some bytes that are compressed".to_vec();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (_folder, objects) = folder_with("a", &bad);
            let error = objects.fetch("a", Md5::of(&good)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }

    #[test]
    fn a_file_swapped_after_it_was_proved_is_read_as_it_was() {
        let (folder, objects) = folder_with("a", b"old");
        let mut fetched = objects.fetch("a", Md5::of(b"old")).unwrap().unwrap();
        std::fs::write(folder.path().join("b"), b"new").unwrap();
        std::fs::rename(folder.path().join("b"), folder.path().join("a")).unwrap();
        let mut read = Vec::new();
        fetched.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"old");
        fetched.check_unchanged().unwrap();
    }

    #[test]
    fn a_file_written_to_after_it_was_proved_is_noticed() {
        let (folder, objects) = folder_with("a", b"old");
        let fetched = objects.fetch("a", Md5::of(b"old")).unwrap().unwrap();
        let mut file = File::options().append(true).open(folder.path().join("a")).unwrap();
        file.write_all(b"er").unwrap();
        assert_eq!(fetched.check_unchanged().unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn what_is_not_there_is_none_and_no_key_leaves_the_root() {
        let (folder, objects) = folder_with("a", b"x");
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for key in ["b", "a/b", "sub", "", "../a", "/etc/passwd", "sub/../a"] {
            assert!(objects.read(key, 10).unwrap().is_none(), "{key}");
        }
        assert_eq!(objects.read("a", 1).unwrap().unwrap(), b"x");
    }

    #[test]
    fn folders_are_named_one_level_deep() {
        let (folder, objects) = folder_with("file", b"x");
        std::fs::create_dir_all(folder.path().join("b/inner")).unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        assert_eq!(objects.folders("").unwrap(), ["a", "b"]);
        assert_eq!(objects.folders("b").unwrap(), ["inner"]);
        assert_eq!(objects.folders("nowhere").unwrap(), [""; 0]);
        assert_eq!(objects.folders("file").unwrap(), [""; 0]);
    }

    #[test]
    fn an_object_above_the_cap_is_refused() {
        let (_folder, objects) = folder_with("a", b"four");
        assert_eq!(objects.read("a", 3).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(objects.read("a", 4).unwrap().unwrap(), b"four");
    }
}
