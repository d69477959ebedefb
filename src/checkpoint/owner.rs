//! Who works on a run: one process, by a name under which its death can be proved on its own host.
//!
//! A lease runs out by the database's clock. But a process that was killed and is started again should not wait for
//! its own lease: on the same host (same name, same boot, same process namespace) a process that no longer exists is
//! dead for certain, and its lease is void.

use std::fs;

/// The name of a working process: `host/boot.namespace/pid.start`, at most [`MAX_NAME`](super::schema::MAX_NAME) bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    name: String,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let pid = std::process::id();
        let start = start_time(pid).unwrap_or_default();
        Owner { name: format!("{}/{pid}.{start}", place()) }
    }

    /// The name, as stored.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process called `name` ran on this host and certainly is no more.
    #[must_use]
    pub fn is_dead_here(name: &str) -> bool {
        let Some((where_it_ran, process)) = name.rsplit_once('/') else { return false };
        let Some((pid, start)) = process.split_once('.') else { return false };
        let (Ok(pid), true) = (pid.parse(), where_it_ran == place()) else { return false };
        start_time(pid).as_deref() != Some(start)
    }
}

/// Host, boot and process namespace: what makes process ids comparable.
fn place() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let host: String = read("/proc/sys/kernel/hostname").chars().filter(|c| *c != '/').take(20).collect();
    let boot: String = read("/proc/sys/kernel/random/boot_id").chars().take(8).collect();
    let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
    let namespace: String = namespace.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
    format!("{host}/{boot}.{namespace}")
}

/// When the process started, in clock ticks since boot; none when there is no such process (a zombie is none).
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command in parentheses may hold anything, so fields are counted after the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_dead_and_a_gone_one_is() {
        let owner = Owner::this_process();
        assert!(owner.name().len() <= super::super::schema::MAX_NAME, "{}", owner.name());
        assert!(!Owner::is_dead_here(owner.name()));
        let (place, _) = owner.name().rsplit_once('/').unwrap();
        assert!(Owner::is_dead_here(&format!("{place}/{}.1", std::process::id())));
        assert!(Owner::is_dead_here(&format!("{place}/4194999.77")));
        assert!(!Owner::is_dead_here("elsewhere/00000000.1/1.1"));
        assert!(!Owner::is_dead_here("nonsense"));
    }
}
