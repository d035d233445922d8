//! Watching words.

use std::io;
use std::mem;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{lock, wake};
use crate::sys;

/// Wakes a task when a word does not hold a value any more, or somebody wakes its sleepers; and once in a second, as all
/// who sleep on words look by themselves: whoever was to wake them may have died.
#[derive(Debug)]
pub(crate) struct WordWatch {
    shard: &'static Shard,
    word: &'static AtomicU32,
    id: u64,
}

/// The words that one thread watches.
#[derive(Debug, Default)]
struct Shard {
    /// Counts the changes of `entries` that the thread has to know of.
    changes: AtomicU32,
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    word: &'static AtomicU32,
    /// What the word holds while nothing happens.
    value: u32,
    wakers: Vec<(u64, Waker)>,
}

/// How many words a thread watches, besides the one that tells it of changes.
const CAPACITY: usize = sys::MOST_WORDS - 1;

/// How often all are woken to look by themselves.
const LOOK: Duration = Duration::from_millis(900);

static SHARDS: Mutex<Vec<&'static Shard>> = Mutex::new(Vec::new());

impl WordWatch {
    pub(crate) fn new(word: &'static AtomicU32, value: u32, waker: Waker) -> io::Result<Self> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        // Held until the word is entered, so that nobody else takes the room.
        let mut shards = lock(&SHARDS);
        let known = shards.iter().find(|shard| shard.has(word));
        let shard = match known.or_else(|| shards.iter().find(|shard| shard.has_room())) {
            Some(shard) => *shard,
            None => {
                let shard = Shard::start()?;
                shards.push(shard);
                shard
            }
        };
        let outdated = shard.enter(word, value, (id, waker));
        drop(shards);
        wake(outdated);
        Ok(Self { shard, word, id })
    }
}

impl Drop for WordWatch {
    fn drop(&mut self) {
        let waker = self.shard.take_out(self.word, self.id);
        // Not under the lock: with its task, it may drop other watches.
        drop(waker);
    }
}

impl Shard {
    /// Makes an empty one, which stays as long as the process, with its thread.
    fn start() -> io::Result<&'static Self> {
        let shard: &Self = Box::leak(Box::default());
        sys::start_helper("mp-words", || shard.run())?;
        Ok(shard)
    }

    fn has(&self, word: &AtomicU32) -> bool {
        lock(&self.entries)
            .iter()
            .any(|entry| ptr::eq(entry.word, word))
    }

    fn has_room(&self) -> bool {
        lock(&self.entries).len() < CAPACITY
    }

    /// Enters a waker, and returns those who are to look again, because they wait for the word to lose another value.
    fn enter(
        &self,
        word: &'static AtomicU32,
        value: u32,
        waker: (u64, Waker),
    ) -> Vec<(u64, Waker)> {
        let mut entries = lock(&self.entries);
        let known = entries.iter_mut().find(|entry| ptr::eq(entry.word, word));
        let outdated = match known {
            Some(entry) if entry.value == value => {
                entry.wakers.push(waker);
                return Vec::new();
            }
            Some(entry) => {
                entry.value = value;
                mem::replace(&mut entry.wakers, vec![waker])
            }
            None => {
                entries.push(Entry {
                    word,
                    value,
                    wakers: vec![waker],
                });
                Vec::new()
            }
        };
        self.changes.fetch_add(1, Ordering::SeqCst);
        drop(entries);
        sys::futex_wake(&self.changes, 1);
        outdated
    }

    /// Takes a waker out, if it is still there. The thread need not know: at most it is woken once in vain.
    fn take_out(&self, word: &AtomicU32, id: u64) -> Option<Waker> {
        let mut entries = lock(&self.entries);
        let at = entries.iter().position(|entry| ptr::eq(entry.word, word))?;
        let wakers = &mut entries[at].wakers;
        let waker = wakers.iter().position(|(other, _)| *other == id)?;
        let (_, waker) = wakers.swap_remove(waker);
        if wakers.is_empty() {
            entries.swap_remove(at);
        }
        Some(waker)
    }

    fn run(&self) {
        let mut naps = 0;
        let mut looked = Instant::now();
        loop {
            let changes = self.changes.load(Ordering::SeqCst);
            let mut words = vec![(&self.changes, changes)];
            words.extend(
                lock(&self.entries)
                    .iter()
                    .map(|entry| (entry.word, entry.value)),
            );
            sys::futex_wait_any(&words, None, &mut naps);
            let all = looked.elapsed() >= LOOK;
            if all {
                looked = Instant::now();
            }
            let changed =
                |entry: &mut Entry| all || entry.word.load(Ordering::SeqCst) != entry.value;
            let due: Vec<_> = lock(&self.entries).extract_if(.., changed).collect();
            if !due.is_empty() || self.changes.load(Ordering::SeqCst) != changes {
                naps = 0;
            }
            wake(due.into_iter().flat_map(|entry| entry.wakers));
        }
    }
}
