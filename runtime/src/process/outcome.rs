//! What passes between parent and child: the order, and the outcome.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::PanicHookInfo;

use serde::{Deserialize, Serialize};

use super::account::Desk;
use super::surroundings::Changes;
use crate::error::{Panic, Ran, Subject};
use crate::sys::Limits;
use crate::wire;

/// The head of an order; the encoded arguments follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    pub(super) function: &'a str,
    pub(super) name: &'a str,
    /// The numbers of the process and its forebears among their siblings: "1:2".
    pub(super) lineage: &'a str,
    pub(super) parent_name: &'a str,
    pub(super) parent_pid: u32,
    pub(super) daemon: bool,
    /// Whether it leads a process group of its own, which ends when its parent does.
    pub(super) leads_group: bool,
    /// What a copy of a process is to change.
    pub(super) changes: Changes,
    pub(super) limits: Limits,
    /// The start method that the program has chosen.
    pub(super) method: Option<&'a str>,
}

/// The head of an outcome; after `Value` the encoded value follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    Value,
    Panicked(Panic),
    UnknownFunction { hint: String },
    Decode { message: String },
    Encode { message: String },
}

impl Outcome {
    /// The exit code of a process with this outcome.
    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Outcome::Value => 0,
            _ => 101,
        }
    }

    /// Leaves the outcome of this process.
    pub(super) fn leave(&self, desk: Desk) {
        let subject = || "the outcome of a process".to_owned();
        // Without room for it, the exit code and stage must do.
        let _ = wire::with_draft(
            |draft| wire::append(self, draft, &subject),
            |draft, outgoing| desk.leave(draft, outgoing),
        );
    }

    /// What precedes a value: the outcome `Value`, encoded.
    pub(super) const HEAD_OF_VALUE: &'static [u8] = &[0];
}

/// What the panic hook saw on this thread.
#[derive(Debug, Default)]
pub(super) struct Seen {
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Lets panics of this process be seen before they unwind, and then by whoever saw them before. With `panic = "abort"` the
/// hook is also the last to see anything, and calls `last`.
pub(crate) fn watch_panics(
    last: impl Fn(Panic) + Send + Sync + 'static,
    subject: impl Fn() -> Subject + Send + Sync + 'static,
) {
    // The copy of a thread that unwinds from a panic: it may not change the hook, and another panic would end it anyway.
    if std::thread::panicking() {
        return;
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let backtrace = Backtrace::capture();
        let seen = Seen {
            location: info.location().map(ToString::to_string),
            backtrace: (backtrace.status() == BacktraceStatus::Captured)
                .then(|| backtrace.to_string()),
        };
        let _ = SEEN.try_with(|cell| *cell.borrow_mut() = Some(seen));
        before(info);
        if cfg!(panic = "abort") {
            last(describe_panic(info.payload(), subject()));
        }
    }));
}

/// A panic of this thread as data.
pub(crate) fn describe_panic(payload: &(dyn std::any::Any + Send), subject: Subject) -> Panic {
    let message = payload
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text was thrown".to_owned());
    let seen = SEEN
        .try_with(RefCell::take)
        .ok()
        .flatten()
        .unwrap_or_default();
    Panic {
        message,
        location: seen.location,
        backtrace: seen.backtrace,
        thread: std::thread::current().name().map(str::to_owned),
        subject: Box::new(subject),
    }
}

/// Whether the function ran, by the stage that a process ended in.
pub(super) fn ran(stage: crate::arena::Stage) -> Ran {
    use crate::arena::Stage;
    match stage {
        Stage::Ordered | Stage::Taken | Stage::Withdrawn => Ran::No,
        Stage::Running => Ran::Partly,
        Stage::Returned | Stage::Done => Ran::Yes,
    }
}
