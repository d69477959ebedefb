//! A task that panics is dropped by its runtime, and the world goes on without it: so panics are counted, by thread, as each world has
//! its own.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Panics of this thread, since the first time it was asked.
pub(super) fn count() -> u64 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            COUNT.set(COUNT.get() + 1);
            tell(panic);
        }));
    });
    COUNT.get()
}

#[test]
fn a_task_that_panics_is_noticed() {
    let before = count();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ended = runtime.block_on(async { tokio::spawn(async { panic!("nobody waits for it") }).await });
    assert!(ended.is_err());
    assert_eq!(count(), before + 1);
}
