//! Items that a worker runs one after the other.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::batch::{Content, View};
use super::current::Running;
use super::item::{Phase, State};
use super::worker::{Leave, Worker};
use crate::arena::{Draft, Outgoing};
use crate::error::{Panic, Ran, Subject};
use crate::kill_point::kill_point;
use crate::process::describe_panic;
use crate::registry::{self, ArgumentError, Arguments, Calls, Function, Step};
use crate::sys;
use crate::wire::{self, Small};

/// What came of a task that gave no value, as its worker tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failing {
    Panicked(Panic),
    Decode { message: String },
    Encode { message: String },
    UnknownFunction,
    Failed { message: String },
}

/// Items that a worker runs one after the other.
struct Chunk<'c, 'w> {
    worker: &'c mut Worker<'w>,
    batch: &'c View,
    /// Those that it has not come to yet.
    items: Range<u32>,
    /// The hash of the name of the function that is called now.
    function: u64,
    first: u64,
    timed: bool,
    /// The item that is run now.
    current: Option<u32>,
    running: &'c Running,
    ran: Ran,
    expects_small: bool,
    leave: Option<Leave>,
}

impl Worker<'_> {
    /// Runs those of some items that nobody else has begun.
    pub(super) fn run(&mut self, batch: &View, items: Range<u32>) -> Result<(), Leave> {
        let running = Running::new(self.number);
        let mut chunk = Chunk {
            running: &running,
            first: batch.first(),
            timed: batch.timeout() != 0,
            worker: self,
            batch,
            items,
            function: 0,
            current: None,
            ran: Ran::No,
            expects_small: true,
            leave: None,
        };
        while let Some(index) = chunk.items.clone().next()
            && chunk.leave.is_none()
        {
            chunk.turn_to(batch.function(index));
            let known = chunk.worker.function;
            let function = match known {
                Some((hash, function)) if hash == chunk.function => Some(function),
                _ => registry::find_hashed(chunk.function),
            };
            let Some(function) = function else {
                if chunk.next().is_some() {
                    chunk.finish_with(&Failing::UnknownFunction);
                }
                continue;
            };
            chunk.worker.function = Some((chunk.function, function));
            let result = catch_unwind(AssertUnwindSafe(|| {
                running.during(|| (function.call_many)(&mut chunk));
            }));
            if let Err(payload) = result {
                let panic = chunk.worker.describe(payload, function, chunk.ran);
                chunk.finish_with(&Failing::Panicked(panic));
            }
        }
        match chunk.leave {
            Some(leave) => Err(leave),
            None => Ok(()),
        }
    }

    #[cold]
    fn tell(&self, batch: &View, index: u32, before: State, succeeded: bool) {
        if before.is_waited() {
            sys::futex_wake(batch.item(index).word(), u32::MAX);
        }
        if before.is_watched() || !succeeded {
            self.pool.calls.done.notify();
        }
    }

    #[cold]
    fn describe(
        &self,
        payload: Box<dyn std::any::Any + Send>,
        function: &'static Function,
        ran: Ran,
    ) -> Panic {
        let subject = Subject {
            name: self.name.to_owned(),
            pid: std::process::id(),
            function: function.name().to_owned(),
            ran,
            stderr: String::new(),
        };
        let panic = describe_panic(&*payload, subject);
        // What was thrown may itself panic when it is dropped.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        panic
    }
}

impl Chunk<'_, '_> {
    fn turn_to(&mut self, function: u64) {
        if self.function != function {
            self.function = function;
            self.expects_small = true;
        }
    }

    /// The current item is done.
    #[inline]
    fn finish(&mut self, succeeded: bool) {
        let Some(index) = self.current.take() else {
            return;
        };
        let (phase, count) = if succeeded {
            (Phase::Value, &self.worker.seat.succeeded)
        } else {
            self.batch.header().failed.fetch_add(1, Ordering::AcqRel);
            (Phase::Failure, &self.worker.seat.failed)
        };
        // Before it is done, so that whoever knows that it is finds it counted.
        let counted = count.load(Ordering::Relaxed);
        count.store(counted + 1, Ordering::Relaxed);
        kill_point();
        let Some(before) = self.batch.item(index).complete(self.worker.number, phase) else {
            count.store(counted, Ordering::Relaxed);
            self.leave = Some(Leave::Condemned);
            return;
        };
        kill_point();
        if before.is_waited() || before.is_watched() || !succeeded {
            self.worker.tell(self.batch, index, before, succeeded);
        }
        self.worker.has_run_one();
    }

    /// The current item has failed.
    #[cold]
    fn finish_with(&mut self, failing: &Failing) {
        let Some(index) = self.current else { return };
        // What may have been left before it is given up.
        self.batch.clean_result(index);
        let _ = wire::with_draft(
            |draft| wire::append(failing, draft, &|| "what became of a task".to_owned()),
            // Without room for it, its absence tells that.
            |draft, outgoing| self.batch.put_result(index, draft, outgoing),
        );
        self.finish(false);
    }
}

impl Calls for Chunk<'_, '_> {
    #[inline]
    fn next(&mut self) -> Option<Arguments> {
        loop {
            if self.leave.is_some() || self.worker.is_to_leave() {
                // What is left is for others.
                self.items.start = self.items.end;
            }
            let index = self.items.clone().next()?;
            if self.batch.function(index) != self.function {
                return None;
            }
            self.items.start += 1;
            let item = self.batch.item(index);
            if self.timed {
                // Before it begins: whoever sees it run and reads the time then reads no time of an earlier item.
                self.worker.seat.began.store(sys::now(), Ordering::Release);
                self.worker
                    .seat
                    .item
                    .store(u64::from(index) + 1, Ordering::Release);
            }
            kill_point();
            let Some(state) = item.begin(self.worker.number) else {
                continue;
            };
            kill_point();
            self.current = Some(index);
            self.ran = Ran::No;
            self.running
                .set(item, self.first + u64::from(index), state.attempt());
            match self.batch.arguments(index) {
                Content::Bytes(bytes) => return Some(Arguments { bytes, fds: None }),
                Content::Parcel(parcel) => match parcel.take_fds() {
                    Ok(fds) => {
                        // SAFETY: the batch owns the parcel, and keeps it until this item is done (P1).
                        let bytes = unsafe { &*std::ptr::from_ref(parcel.bytes()) };
                        return Some(Arguments {
                            bytes,
                            fds: Some(fds),
                        });
                    }
                    Err(error) => self.finish_with(&Failing::Failed {
                        message: error.to_string(),
                    }),
                },
            }
        }
    }

    #[inline]
    fn enter(&mut self, step: Step) {
        self.ran = match step {
            Step::Calling => Ran::Partly,
            Step::Returned => Ran::Yes,
        };
    }

    #[inline]
    fn expects_small(&self) -> bool {
        self.expects_small
    }

    #[inline]
    fn give_small(&mut self, value: &Small) -> bool {
        let Some(index) = self.current else {
            return false;
        };
        let fits = self.batch.put_small(index, value);
        if fits {
            self.finish(true);
        }
        fits
    }

    fn give(&mut self, value: &mut Draft, outgoing: &mut Outgoing) {
        let Some(index) = self.current else { return };
        self.expects_small = value.bytes().len() <= wire::SMALL && outgoing.is_empty();
        match self.batch.put_result(index, value, outgoing) {
            Ok(()) => self.finish(true),
            Err(error) => self.finish_with(&Failing::Failed {
                message: format!("the value of the task cannot be left: {error}"),
            }),
        }
    }

    #[cold]
    fn fail(&mut self, error: ArgumentError) {
        let failing = match error {
            ArgumentError::Decode(error) => Failing::Decode {
                message: error.to_string(),
            },
            ArgumentError::Encode(error) => Failing::Encode {
                message: error.to_string(),
            },
            ArgumentError::NotSmall => unreachable!("encoded at any length"),
        };
        self.finish_with(&failing);
    }
}
