//! What all parts of a pool in its owner's process share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::batch::Content;
use super::body::PoolHandle;
use super::chunk::Failing;
use super::crew::Crew;
use super::item::{Item, Phase, State};
use super::line::{Graveyard, Line, Wishes, lock};
use super::owned_batch::Batch;
use super::watch::Watchers;
use crate::arena::Incoming;
use crate::error::{Error, Result, TaskError};
use crate::registry;
use crate::sync::Patience;
use crate::sys;
use crate::wire;

pub(super) struct Shared {
    pub(super) handle: PoolHandle,
    /// What tasks get that ask for nothing else.
    pub(super) wishes: Wishes,
    pub(super) line: Mutex<Line>,
    pub(super) graveyard: Graveyard,
    pub(super) crew: Crew,
    pub(super) watchers: Watchers,
    pub(super) counters: Counters,
    /// Why the pool cannot work any more.
    broken: OnceLock<String>,
}

/// What the owner counts; workers count what they do.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) submitted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) died: AtomicU64,
}

impl Shared {
    pub(super) fn new(handle: PoolHandle, wishes: Wishes, crew: Crew) -> Self {
        Self {
            handle,
            wishes,
            line: Mutex::default(),
            graveyard: Graveyard::default(),
            crew,
            watchers: Watchers::default(),
            counters: Counters::default(),
            broken: OnceLock::new(),
        }
    }

    /// Why the pool takes no tasks, if it does not.
    pub(super) fn check(&self) -> Result<()> {
        match self.broken.get() {
            Some(cause) => Err(Error::PoolBroken {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Why the pool takes no tasks now, if it does not.
    pub(super) fn check_open(&self) -> Result<()> {
        self.check()?;
        match lock(&self.line).is_closed() {
            true => Err(Error::PoolClosed),
            false => Ok(()),
        }
    }

    /// Puts a batch into the line.
    pub(super) fn push(&self, batch: &Arc<Batch>) -> Result<()> {
        let body = self.handle.body();
        let mut line = lock(&self.line);
        self.check()?;
        if !self.graveyard.is_empty() {
            line.bury(body, &self.graveyard);
        }
        line.push(body, batch)?;
        drop(line);
        let count = batch.view.filled();
        self.counters
            .submitted
            .fetch_add(count.into(), Ordering::Relaxed);
        self.offer(count, batch.view.timeout());
        Ok(())
    }

    /// Submits a task by itself; returns where it is.
    #[inline]
    pub(super) fn submit<F: registry::ProcessFn>(
        self: &Arc<Self>,
        args: &F::Args<'_>,
        wishes: Wishes,
    ) -> Result<(Arc<Batch>, u32)> {
        let hash = const { registry::hash(F::NAME) };
        let small = registry::encode_small::<F>(args).and_then(|small| {
            let mut line = lock(&self.line);
            line.submit_small(wishes, &small, hash)
        });
        let submitted = match small {
            Some(submitted) => submitted,
            None => self.submit_any::<F>(args, wishes, hash)?,
        };
        self.counters.submitted.fetch_add(1, Ordering::Relaxed);
        self.offer(1, wishes.terms.timeout);
        Ok(submitted)
    }

    fn submit_any<F: registry::ProcessFn>(
        self: &Arc<Self>,
        args: &F::Args<'_>,
        wishes: Wishes,
        function: u64,
    ) -> Result<(Arc<Batch>, u32)> {
        wire::with_draft(
            |draft| registry::encode::<F>(args, draft),
            |draft, outgoing| {
                let mut line = lock(&self.line);
                self.check()?;
                line.submit(self, wishes, draft, outgoing, function)
            },
        )?
    }

    /// Tells workers that there are `count` more items.
    #[inline]
    fn offer(&self, count: u32, timeout: u64) {
        self.handle.body().line.work.notify_up_to(count);
        self.crew.look_after(timeout);
    }

    /// Frees the batches that nobody needs any more.
    pub(super) fn bury(&self) {
        if !self.graveyard.is_empty() {
            lock(&self.line).bury(self.handle.body(), &self.graveyard);
        }
    }

    /// Frees what a job has left, as far as all of it is done.
    pub(super) fn tidy_up(&self) {
        let mut line = lock(&self.line);
        line.tend_all();
        line.bury(self.handle.body(), &self.graveyard);
    }

    /// Ends all work: what has not been done is not done any more.
    pub(super) fn give_up(&self, fate: &TaskError) {
        let mut line = lock(&self.line);
        line.close();
        for batch in line.alive() {
            batch.decide_all(fate);
        }
        line.tend_all();
    }

    /// The pool cannot work any more.
    pub(super) fn break_down(&self, cause: String) {
        let _ = self.broken.set(cause.clone());
        self.give_up(&TaskError::Broken { cause });
    }
}

impl Batch {
    #[inline]
    pub(super) fn state(&self, index: u32) -> State {
        self.view.item(index).state()
    }

    /// Waits until an item is done; `false` when `deadline` passed before that.
    #[inline]
    pub(super) fn wait(&self, index: u32, deadline: Option<Instant>) -> bool {
        let item = self.view.item(index);
        let mut patience = Patience::default();
        loop {
            if item.state().is_final() {
                return true;
            }
            if !patience.wait() {
                return sleep(item, deadline);
            }
        }
    }

    /// What came of an item that is done.
    #[inline]
    pub(super) fn outcome<R: serde::de::DeserializeOwned>(
        &self,
        index: u32,
        function: &'static str,
    ) -> Result<R, TaskError> {
        let state = self.state(index);
        if state.phase() == Phase::Value
            && let Some(content) = self.view.get_result(index)
        {
            return value(&content, function);
        }
        Err(self.failure(index, state, function))
    }

    /// The value of an item, if it is done, and its value lies in the batch.
    #[inline]
    pub(super) fn small_value<R: serde::de::DeserializeOwned>(
        &self,
        index: u32,
        function: &'static str,
    ) -> Option<R> {
        if self.state(index).phase() != Phase::Value {
            return None;
        }
        let Some(Content::Bytes(mut bytes)) = self.view.get_result(index) else {
            return None;
        };
        // It names no objects. What cannot be decoded is left for who says why.
        wire::take(&mut bytes, &|| function.to_owned()).ok()
    }

    #[cold]
    fn failure(&self, index: u32, state: State, function: &'static str) -> TaskError {
        let failing = match state.phase() {
            Phase::Over => return self.fate(index),
            Phase::Failure => self.view.get_result(index),
            _ => None,
        };
        let no_room = || TaskError::Failed {
            message: format!(
                "the shared memory has no room for what became of the task (function `{function}`)"
            ),
        };
        let Some(failing) = failing else {
            return no_room();
        };
        let subject = || format!("what became of a task of `{function}`");
        let mut bytes = failing.bytes();
        match wire::take(&mut bytes, &subject) {
            Ok(Failing::Panicked(panic)) => TaskError::Panicked(panic),
            Ok(Failing::Decode { message }) => TaskError::Decode { message },
            Ok(Failing::Encode { message }) => TaskError::Encode { message },
            Ok(Failing::Failed { message }) => TaskError::Failed { message },
            Ok(Failing::UnknownFunction) => TaskError::UnknownFunction {
                function: function.to_owned(),
                hint: registry::hint(function),
            },
            Err(error) => TaskError::Decode {
                message: error.to_string(),
            },
        }
    }

    /// Gives back what an item has besides its place, once nobody will ask for it any more.
    #[inline]
    pub(super) fn clean(&self, index: u32) {
        // Whoever runs a task that the owner has decided about may still read its arguments.
        if matches!(self.state(index).phase(), Phase::Value | Phase::Failure) {
            self.view.clean(index);
        }
    }
}

#[inline]
fn value<R: serde::de::DeserializeOwned>(
    content: &Content<'_>,
    function: &'static str,
) -> Result<R, TaskError> {
    let mut bytes = content.bytes();
    let fds = content.take_fds()?;
    let subject = || format!("the value of `{function}`");
    Incoming::provide(fds, || wire::take(&mut bytes, &subject)).map_err(|error| TaskError::Decode {
        message: error.to_string(),
    })
}

#[cold]
fn sleep(item: &Item, deadline: Option<Instant>) -> bool {
    loop {
        let (word, state) = item.wait();
        if state.is_final() {
            return true;
        }
        if !sys::futex_wait(word, Item::expected(state), deadline) {
            return item.state().is_final();
        }
    }
}
