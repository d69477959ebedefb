//! A child process that dies with its parent, and whose folder goes with it.
//!
//! The parent may panic, be killed or be interrupted; no destructor runs then. So the child is started through a shell
//! that leaves a small helper behind and then *becomes* the server (`exec`: the child's id is the server's id, also for
//! a server that runs under its own dynamic linker). The helper waits on a pipe whose other end only this process
//! holds. When the pipe closes, the helper kills the server and removes the folder; a line `keep` before the close
//! spares the folder. The server's id cannot have been given to a stranger meanwhile: this process reaps the child only
//! after the helper has ended.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// `$1` is the folder to remove, the rest is the server's command line.
const SCRIPT: &str = r#"
folder=$1; shift
# by another number: the shell gives a background job an empty standard input
exec 3<&0
(
    read -r order <&3
    kill -9 $$ 2>/dev/null
    [ "$order" = keep ] && exit
    for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$folder" 2>/dev/null && exit; sleep 0.1; done
) 2>/dev/null &
exec "$@" 3<&- </dev/null >"$folder/stdout" 2>&1
"#;

/// A running child with its helper.
pub(crate) struct Watched {
    child: Child,
    /// closing it is the order to kill
    order: Option<ChildStdin>,
}

impl Watched {
    /// Starts `command` (program and arguments). `folder` holds everything it writes and is removed with it.
    pub(crate) fn spawn(folder: &Path, command: &[String]) -> Watched {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "server"])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // an interrupt typed at the terminal must not reach the helper before this process is gone
            .process_group(0)
            .spawn()
            .expect("sh is there");
        let order = child.stdin.take();
        Watched { child, order }
    }

    /// The server's own process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the server still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        // a dead child stays a zombie until it is waited for, and waiting is left to `end`
        match std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())) {
            Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => false,
        }
    }

    /// Kills the server the hard way (SIGKILL) and waits for its end. Its folder stays.
    pub(crate) fn kill(mut self) {
        self.end(true);
    }

    /// Asks the server to stop (SIGTERM) and waits for its end, at most `limit`. Its folder stays.
    pub(crate) fn stop(mut self, limit: Duration) {
        signal(self.id(), "TERM");
        let began = Instant::now();
        while self.is_running() {
            assert!(began.elapsed() < limit, "server {} did not stop within {limit:?}", self.id());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end(true);
    }

    fn end(&mut self, keep: bool) -> Option<ExitStatus> {
        let mut order = self.order.take()?;
        if keep {
            // a helper that is gone already has nothing to keep
            drop(order.write_all(b"keep\n"));
        }
        drop(order);
        // the helper alone still holds this pipe: its end is the helper's end
        if let Some(mut output) = self.child.stdout.take() {
            drop(output.read_to_end(&mut Vec::new()));
        }
        self.child.wait().ok()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// Sends a signal by name (`TERM`, `STOP`, `CONT`, `KILL`) to one process.
pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(status.expect("kill is there").success(), "process {process} took no {name}");
}
