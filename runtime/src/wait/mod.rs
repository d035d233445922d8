//! Waiting for several objects at once.
//!
//! | the objects are | the calling thread sleeps |
//! |---|---|
//! | words of shared memory (queues, events, semaphores), at most 127 | on all words at once: `futex_waitv` |
//! | descriptors (connections, processes) | on all descriptors at once: `poll` |
//! | both, or more words | on 127 words and a flag, which the [reactor](crate::reactor) raises for all others |

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::channel::{Connection, Receiver};
use crate::error::{Error, Result};
use crate::queue::{JoinableQueue, Queue};
use crate::reactor::{self, FdWatch, Place, Source, Sourced, Word, WordWatch};
use crate::sync::{BoundedSemaphore, Event, Patience, Semaphore, deadline_after};
use crate::sys::{self, AsFd, BorrowedFd, OwnedFd};

/// What [`wait`] can wait for.
///
/// | object | is ready when |
/// |---|---|
/// | [`Connection`], [`Receiver`] | a message or the end is there |
/// | [`Process`](crate::Process), [`ChildProcess`](crate::ChildProcess), [`ParentProcess`](crate::ParentProcess) | the process has ended, whether it was joined or not |
/// | [`Queue`], [`JoinableQueue`] | an item is there, or it is shut down |
/// | [`Semaphore`], [`BoundedSemaphore`] | there is a permit to take |
/// | [`Event`] | it is set, or was set since the call began |
/// | a descriptor: `OwnedFd`, or `BorrowedFd` of a socket, a pipe, a timer | it is readable, or its peer gone |
///
/// The trait is sealed: it cannot be implemented outside of this library.
///
/// # Examples
///
/// ```
/// let (queue, event) = (mp::Queue::<u32>::new()?, mp::Event::new()?);
/// let objects: [&dyn mp::Waitable; 2] = [&queue, &event];
/// event.set();
/// assert_eq!(mp::wait(&objects, None)?, [1]);
/// # Ok::<(), mp::Error>(())
/// ```
pub trait Waitable: Sourced + Send + Sync {}

impl Waitable for Event {}
impl Waitable for Semaphore {}
impl Waitable for BoundedSemaphore {}
impl<T> Waitable for Queue<T> {}
impl<T> Waitable for JoinableQueue<T> {}
impl<S, R> Waitable for Connection<S, R> {}
impl<T> Waitable for Receiver<T> {}
impl Waitable for OwnedFd {}
impl Waitable for BorrowedFd<'_> {}

impl<S, R> Sourced for Connection<S, R> {
    fn source(&self) -> Source<'_> {
        Source::of_fd(self.as_fd())
    }
}

impl<T> Sourced for Receiver<T> {
    fn source(&self) -> Source<'_> {
        Source::of_fd(self.as_fd())
    }
}

impl Sourced for OwnedFd {
    fn source(&self) -> Source<'_> {
        Source::of_fd(self.as_fd())
    }
}

impl Sourced for BorrowedFd<'_> {
    fn source(&self) -> Source<'_> {
        Source::of_fd(*self)
    }
}

/// Waits until at least one of several objects is ready, for at most `timeout`; returns the indices of all that are
/// ready, in order.
///
/// An object is ready when the next `get`, `recv`, `wait` or `join` would not wait (see [`Waitable`]), which it may have
/// been at different moments during the call. Nothing is taken: somebody else may be faster, so where several processes or
/// threads use an object, go on with `try_get` or `try_recv`.
///
/// The result is empty when the time is over. With a timeout of zero this looks, and does not wait. With no objects
/// there is nothing to wait for but the time: it waits for that, or returns at once when there is no timeout. An object
/// that is named twice is reported twice.
///
/// The death of whoever was to make an object ready does not wake for the object: also wait for the process.
///
/// # Cost
///
/// Words of shared memory (queues and events) are looked at without a system call. For objects of both kinds together, and
/// for more than 127 queues and events, a thread of this library watches some of them; it is started by the first such
/// call, and stays, asleep, so that this process has more than one thread from then on.
///
/// On a kernel without `futex_waitv` (before Linux 5.16, or where it is forbidden), waiting for queues and events is looking
/// at them again and again, after 50 µs first and every 5 ms later.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// #[mp::process_fn]
/// fn work(results: mp::Queue<u32>, number: u32) {
///     results.put(number * number).unwrap();
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let results = mp::Queue::new()?;
///     let (here, there) = mp::pipe::<(), String>()?;
///     assert!(mp::wait(&[&results, &here], Some(Duration::ZERO))?.is_empty());
///
///     let process = mp::spawn!(work, results.clone(), 7)?;
///     while !mp::wait(&[&here, &process, &results], None)?.contains(&2) {}
///     assert_eq!(results.get()?, 49);
///
///     drop(there); // the end is something to receive, too
///     process.wait();
///     assert_eq!(mp::wait(&[&here, &process, &results], None)?, [0, 1]);
///     process.join()?;
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`Error::Os`](crate::Error::Os) when the system refuses to wait, or refuses the thread.
pub fn wait(objects: &[&dyn Waitable], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let deadline = timeout.and_then(deadline_after);
    let all = Objects::new(objects);
    let ready = all.ready()?;
    if !ready.is_empty() || timeout == Some(Duration::ZERO) {
        return Ok(ready);
    }
    match (all.words.is_empty(), all.fds.is_empty()) {
        (true, true) => {
            thread::sleep(timeout.unwrap_or_default());
            Ok(ready)
        }
        (true, false) => all.readable(deadline).map(Iterator::collect),
        _ => all.sleep(deadline),
    }
}

/// The objects of one call, with their indices.
struct Objects<'a> {
    words: Vec<(usize, &'a dyn Word, u32)>,
    fds: Vec<BorrowedFd<'a>>,
    indices_of_fds: Vec<usize>,
}

impl<'a> Objects<'a> {
    fn new(objects: &[&'a dyn Waitable]) -> Self {
        let mut all = Self {
            words: Vec::new(),
            fds: Vec::new(),
            indices_of_fds: Vec::new(),
        };
        for (index, object) in objects.iter().enumerate() {
            match object.source().0 {
                Place::Word(word) => all.words.push((index, word, word.moment())),
                Place::Descriptor(fd) => {
                    all.fds.push(fd);
                    all.indices_of_fds.push(index);
                }
            }
        }
        all
    }

    /// The indices of those that are ready now.
    fn ready(&self) -> Result<Vec<usize>> {
        let words = self.words.iter();
        let mut ready: Vec<_> = words
            .filter(|(_, word, moment)| word.is_ready(*moment))
            .map(|(index, ..)| *index)
            .collect();
        if !self.fds.is_empty() {
            ready.extend(self.readable(Some(Instant::now()))?);
            ready.sort_unstable();
        }
        Ok(ready)
    }

    /// Waits until descriptors are readable, and returns their indices.
    fn readable(&self, deadline: Option<Instant>) -> Result<impl Iterator<Item = usize>> {
        let readable = sys::poll_any(&self.fds, deadline).map_err(|error| {
            Error::os(
                "cannot wait for several connections or processes at once",
                error,
            )
        })?;
        let indices = self.indices_of_fds.iter().copied().zip(readable);
        Ok(indices.filter(|(_, ready)| *ready).map(|(index, _)| index))
    }

    fn is_any_word_ready(&self) -> bool {
        self.words
            .iter()
            .any(|(_, word, moment)| word.is_ready(*moment))
    }

    /// Waits for words, and maybe descriptors.
    fn sleep(&self, deadline: Option<Instant>) -> Result<Vec<usize>> {
        let mut patience = Patience::default();
        while patience.wait() {
            if self.is_any_word_ready() {
                return self.ready();
            }
        }
        let (own, others) = self.words.split_at(self.words.len().min(OWN_WORDS));
        let flag = Arc::new(Flag::default());
        let mut watches = Watches::default();
        let mut naps = 0;
        loop {
            let is_raised = flag.0.swap(0, Ordering::SeqCst) != 0;
            if is_raised || watches.is_empty() {
                watches.renew(others, &self.fds, &flag)?;
            }
            let mut words: Vec<_> = own.iter().map(|(_, word, _)| word.announce()).collect();
            // Announced and watched: what happens from here on ends the sleep.
            if is_raised || self.is_any_word_ready() {
                let ready = self.ready()?;
                if !ready.is_empty() {
                    return Ok(ready);
                }
            }
            words.push((&flag.0, 0));
            if !sys::futex_wait_any(&words, deadline, &mut naps) {
                return self.ready();
            }
        }
    }
}

/// How many words the calling thread sleeps on by itself, besides the flag.
const OWN_WORDS: usize = sys::MOST_WORDS - 1;

/// Raised by the reactor when something has happened that the calling thread does not sleep on.
#[derive(Default)]
struct Flag(AtomicU32);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(1, Ordering::SeqCst);
        sys::futex_wake(&self.0, 1);
    }
}

/// What the reactor watches for a call.
#[derive(Default)]
struct Watches<'a> {
    words: Vec<WordWatch>,
    fds: Vec<FdWatch<BorrowedFd<'a>>>,
}

impl<'a> Watches<'a> {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.fds.is_empty()
    }

    /// Watches all anew: of a watch that woke, nothing is left.
    fn renew(
        &mut self,
        words: &[(usize, &dyn Word, u32)],
        fds: &[BorrowedFd<'a>],
        flag: &Arc<Flag>,
    ) -> Result<()> {
        *self = Self::default();
        for (_, word, _) in words {
            let (word, value) = word.announce();
            let waker = Waker::from(Arc::clone(flag));
            self.words.push(reactor::watch_word(word, value, waker)?);
        }
        for fd in fds {
            let waker = Waker::from(Arc::clone(flag));
            self.fds.push(reactor::watch_fd(*fd, waker)?);
        }
        Ok(())
    }
}
