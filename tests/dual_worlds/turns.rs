//! How many worlds live at once, whichever tests they are of: a world that waits for a processor too long is not judged.

use std::sync::{Condvar, Mutex};

/// Room for worlds; who waits for it gets it in the order of coming, so that nobody is passed by for ever.
struct Room {
    taken: usize,
    came: u64,
    entered: u64,
}

static ROOM: Mutex<Room> = Mutex::new(Room { taken: 0, came: 0, entered: 0 });
static CHANGED: Condvar = Condvar::new();

/// Worlds at a time: they mostly wait.
pub(super) fn at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).clamp(4, 6)
}

/// The room of one world, until it is dropped.
pub(super) struct Turn {
    takes: usize,
}

impl Turn {
    /// Waits for the room that so many worlds take otherwise.
    pub(super) fn wait(takes: usize) -> Turn {
        let mut room = ROOM.lock().unwrap();
        let number = room.came;
        room.came += 1;
        let is_full = |room: &mut Room| room.entered != number || room.taken + takes > at_once();
        let mut room = CHANGED.wait_while(room, is_full).unwrap();
        room.entered += 1;
        room.taken += takes;
        CHANGED.notify_all();
        Turn { takes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        ROOM.lock().unwrap().taken -= self.takes;
        CHANGED.notify_all();
    }
}
