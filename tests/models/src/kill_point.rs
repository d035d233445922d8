//! Deaths: a thread that is told to die at a place stops there, with all that it has said until then.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

loom::thread_local! {
    /// How many places this thread still passes, and 1; 0: it lives.
    static LEFT: Cell<u32> = Cell::new(0);
}

struct Death;

/// A place where a thread may die.
pub(crate) fn kill_point() {
    let dies = LEFT.with(|left| {
        let was = left.get();
        left.set(was.saturating_sub(1));
        was == 1
    });
    if dies {
        resume_unwind(Box::new(Death));
    }
}

/// Runs `life`, and lets the thread die at the n-th place from now, or not if that is 0; tells whether it has died.
pub(crate) fn dying_at(n: u32, life: impl FnOnce()) -> bool {
    LEFT.with(|left| left.set(n));
    match catch_unwind(AssertUnwindSafe(life)) {
        Ok(()) => false,
        Err(reason) if reason.is::<Death>() => true,
        Err(reason) => resume_unwind(reason),
    }
}
