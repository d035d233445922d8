//! Records of processes: what each runs, and all that it holds.
//!
//! A parent makes its child's record before it starts the child ([`ChildRecord`](super::ChildRecord)), and frees it when the
//! child has ended and nobody asks for its outcome any more. In between it buries the child (see [`burial`](super::burial)).
//!
//! | stage | meaning | who may leave it | its process died here |
//! |---|---|---|---|
//! | `Ordered` | the order is in the record | the child, to `Taken`; a sweeper, to `Withdrawn` | the function did not run |
//! | `Taken` | the child has its order and decodes it | the child, to `Running` or `Done` | the function did not run |
//! | `Running` | the function runs | the child, to `Returned` or `Done` | the function ran in part |
//! | `Returned` | the function has returned; its value is encoded | the child, to `Done` | the function ran |
//! | `Done` | the outcome is in the record | nobody | nothing is lost |
//! | `Withdrawn` | the parent died before the child came, or does not want it any more | nobody | the child ends by itself |
//!
//! | `exit` | meaning | who may leave it | its process died here |
//! |---|---|---|---|
//! | 0 | nobody has told how the process ended | the fork server that it is a child of, to another | its parent looks elsewhere |
//! | `TOLD` and a status | it ended so, as the C library has it | nobody | – |

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Arena, Links, Offset, Parcel, Tx};
use crate::error::Result;
use crate::sys::{self, RobustMutex};

/// How many generations a tree may have.
pub(crate) const MAX_DEPTH: u64 = 64;

/// Marks a status in the word `exit`, which may be 0.
pub(super) const TOLD: u32 = 1 << 31;

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub(crate) enum Stage {
    Ordered,
    Taken,
    Running,
    Returned,
    Done,
    Withdrawn,
}

impl Stage {
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            0 => Stage::Ordered,
            1 => Stage::Taken,
            2 => Stage::Running,
            3 => Stage::Returned,
            4 => Stage::Done,
            _ => Stage::Withdrawn,
        }
    }
}

/// A process.
#[repr(C)]
pub(crate) struct Record {
    /// In the root's list of records. First, for the list's sake.
    links: Links,
    pub(crate) serial: AtomicU64,
    /// The record of the process that started this one; 0 for the first of the tree and for orphans.
    pub(super) parent: AtomicU64,
    pub(crate) pid: AtomicU64,
    pub(crate) parent_pid: AtomicU64,
    pub(super) stage: AtomicU64,
    /// How many generations there are above.
    pub(crate) depth: AtomicU64,
    /// How many children it has started.
    pub(crate) children: AtomicU64,
    /// The parcel that says what to run.
    pub(super) order: AtomicU64,
    /// The parcel that says how it went.
    pub(super) outcome: AtomicU64,
    /// Its holds on objects.
    pub(super) holds: AtomicU64,
    /// Its parcels.
    pub(super) parcels: AtomicU64,
    /// The locks that its threads wait for.
    pub(crate) waits: AtomicU64,
    pub(super) exit: AtomicU32,
    name: ProcessName,
    /// Owned by the process, by the thread that its boot runs on, until it ends: the kernel erases an owner that is dead.
    pub(super) life: RobustMutex,
}

/// A name of up to 64 bytes, in words so that it can be read while it is written; longer ones are cut.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct ProcessName([AtomicU64; 8]);

impl ProcessName {
    const LENGTH: usize = 64;

    pub(crate) fn store(&self, name: &str) {
        let mut end = name.len().min(Self::LENGTH);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; Self::LENGTH];
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        for (word, chunk) in self.0.iter().zip(bytes.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
        }
    }

    pub(crate) fn load(&self) -> String {
        let bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .collect();
        String::from_utf8_lossy(&bytes)
            .trim_end_matches('\0')
            .to_owned()
    }
}

impl Record {
    pub(crate) fn stage(&self) -> Stage {
        Stage::from_number(self.stage.load(Ordering::Acquire))
    }

    /// The process whose record this is says how far it has come.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u64, Ordering::Release);
    }

    pub(crate) fn name(&self) -> String {
        self.name.load()
    }

    /// The stage, as a process that never wrote one: used where a record is made.
    fn reset(&self, tx: &mut Tx<'_>) {
        for word in [
            &self.parent,
            &self.pid,
            &self.parent_pid,
            &self.stage,
            &self.depth,
            &self.children,
            &self.order,
            &self.outcome,
            &self.holds,
            &self.parcels,
            &self.waits,
        ] {
            tx.set(word, 0);
        }
        self.exit.store(0, Ordering::Relaxed);
    }
}

impl Arena {
    /// The record at `place`.
    ///
    /// # Safety
    ///
    /// There is one, and it is not freed while the reference lives.
    pub(crate) unsafe fn record(&self, place: Offset) -> &Record {
        // SAFETY: the caller's promise.
        unsafe { self.at(place) }
    }

    /// Makes the record of the tree's first process, this one.
    pub(super) fn register_first_process(&self) -> Result<()> {
        let mut tx = self.begin();
        let place = tx.new_record("MainProcess")?;
        // SAFETY: just made.
        let record = unsafe { self.record(place) };
        tx.set(&record.pid, u64::from(std::process::id()));
        tx.set(&record.stage, Stage::Running as u64);
        tx.commit();
        self.become_process(place);
        Ok(())
    }

    /// In a child: takes the record that the parent made for it, and the order in it.
    ///
    /// # Errors
    ///
    /// A sentence, when there is no such record, or it is not for this process.
    pub(crate) fn take_order(&'static self, place: Offset, serial: u64) -> Result<Parcel, String> {
        let mut tx = self.begin();
        if !tx.nodes(&self.root().records).any(|node| node == place) {
            return Err(
                "the process that started this one is gone, or the mark was not meant for this process".to_owned(),
            );
        }
        // SAFETY: it is in the list, and freed by its parent after this process's end, or by a sweeper when
        // nobody owns its life.
        let record = unsafe { self.record(place) };
        if record.serial.load(Ordering::Relaxed) != serial {
            return Err("the mark names another process of the tree".to_owned());
        }
        let order = Offset(record.order.load(Ordering::Relaxed));
        if record.stage() != Stage::Ordered || order.is_none() {
            return Err("the order was taken already, or withdrawn".to_owned());
        }
        if record.life.try_lock().is_err() {
            return Err("another process has taken the order".to_owned());
        }
        let is_copy = !self.my_offset().is_none();
        self.become_process(place);
        tx.set(&record.pid, u64::from(std::process::id()));
        tx.set(&record.order, 0);
        tx.set(&record.stage, Stage::Taken as u64);
        tx.attach_parcel(&record.parcels, order);
        tx.commit();
        if is_copy {
            self.inherit_holds();
        }
        // SAFETY: it is in this process's list as of now (A5).
        Ok(unsafe { Parcel::from_place(self, order) })
    }

    /// In a child: leaves the outcome in the record, if there is none yet: a panic that aborts may be seen by the hooks of
    /// a copy and of its original, one after the other.
    pub(crate) fn leave_outcome(&self, outcome: Parcel) {
        let me = self.me();
        if me.outcome.load(Ordering::Relaxed) != 0 {
            return;
        }
        let outcome = outcome.into_place();
        let mut tx = self.begin();
        tx.detach_parcel(outcome);
        tx.set(&me.outcome, outcome.0);
        tx.set(&me.stage, Stage::Done as u64);
        tx.commit();
    }

    /// In the fork server that a process is a child of: says how it ended, before it is reaped.
    pub(crate) fn tell_exit(&self, place: Offset, serial: u64, status: u32) {
        let tx = self.begin();
        if let Some(record) = tx.record_of(place, serial) {
            record.exit.store(TOLD | status, Ordering::Release);
            sys::futex_wake(&record.exit, u32::MAX);
        }
    }

    /// The records of all processes, for a look at each under the arena's lock.
    pub(crate) fn for_each_record(&self, mut look: impl FnMut(Offset, &Record)) {
        let tx = self.begin();
        for place in tx.nodes(&self.root().records) {
            // SAFETY: in the list, and the transaction keeps it there.
            look(place, unsafe { self.record(place) });
        }
    }
}

impl<'a> Tx<'a> {
    /// The record at `place`, if it is of the process with this serial number.
    pub(super) fn record_of(&self, place: Offset, serial: u64) -> Option<&'a Record> {
        let arena = self.arena;
        self.nodes(&arena.root().records)
            .find(|node| *node == place)?;
        // SAFETY: it is in the list, and the transaction keeps it there.
        let record = unsafe { arena.record(place) };
        (record.serial.load(Ordering::Relaxed) == serial).then_some(record)
    }

    /// The same, if its process is to begin and has not yet.
    pub(super) fn ordered(&self, place: Offset, serial: u64) -> Option<&'a Record> {
        let record = self.record_of(place, serial)?;
        (record.stage() == Stage::Ordered).then_some(record)
    }

    pub(super) fn new_record(&mut self, name: &str) -> Result<Offset> {
        let place = self.allocate(size_of::<Record>() as u64)?;
        // SAFETY: words anywhere in the arena are a valid record, and this block is the caller's.
        let record: &Record = unsafe { self.arena.at(place) };
        record.reset(self);
        self.set(&record.serial, self.arena.root().next_serial());
        // These lie behind the words that a free block has: should the transaction be undone, nobody reads them.
        record.name.store(name);
        // SAFETY: in the block that was just allocated, which nobody else knows.
        unsafe { RobustMutex::init((&raw const record.life).cast_mut()) };
        self.link(&self.arena.root().records, place);
        Ok(place)
    }
}
