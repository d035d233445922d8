//! The heap's layout, told a second time for those who check it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use crate::arena::{Arena, Offset};

const UNIT: u64 = 64;
const HEADER: u64 = 16;
const FREE: u64 = 1;
const ROWS: usize = 36;
const COLUMNS: usize = 16;
const LARGE: u64 = 1 << 20;
/// The journal's.
const ENTRIES: u64 = 120;

/// All that the heap says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heap {
    start: u64,
    top: u64,
    last: u64,
    pub(super) used: u64,
    retained: u64,
    rows: u64,
    columns: Vec<u64>,
    /// The lists of free blocks, by row and column.
    bins: BTreeMap<(usize, usize), Vec<u64>>,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    place: u64,
    size: u64,
    before: u64,
    free: bool,
    /// Of a free block.
    dirty: u64,
}

impl Heap {
    /// Reads the heap, after undoing what a dead process left half done.
    pub(super) fn read(arena: &Arena) -> Self {
        let _tx = arena.begin();
        let word = |place: u64| arena.word(Offset(place)).load(Ordering::Relaxed);
        let heap = arena.offset_in(&arena.root().heap).0;
        let field = |index: usize| word(heap + 8 * index as u64);
        let (start, top) = (field(0), field(1));
        let mut blocks = Vec::new();
        let mut place = start;
        while place < top {
            let (size, before) = (word(place), word(place + 8));
            let block = Block {
                place,
                size: size & !FREE,
                before,
                free: size & FREE != 0,
                dirty: if size & FREE != 0 {
                    word(place + HEADER + 16)
                } else {
                    0
                },
            };
            blocks.push(block);
            // A size of 0 would never end.
            place += block.size.max(UNIT);
        }
        let mut bins = BTreeMap::new();
        for (row, column) in (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)))
        {
            let mut back = heap + 8 * (7 + ROWS + row * COLUMNS + column) as u64;
            let mut list = Vec::new();
            while word(back) != 0 && list.len() <= blocks.len() {
                let node = word(back);
                assert!(
                    node % 8 == 0 && node < top,
                    "a list of free blocks leads to {node}"
                );
                assert_eq!(
                    word(node + 8),
                    back,
                    "the block at {node} does not know who names it"
                );
                list.push(node - HEADER);
                back = node;
            }
            if !list.is_empty() {
                bins.insert((row, column), list);
            }
        }
        Self {
            start,
            top,
            last: field(2),
            used: field(4),
            retained: field(5),
            rows: field(6),
            columns: (0..ROWS).map(|row| field(7 + row)).collect(),
            bins,
            blocks,
        }
    }

    /// Whether a block with this payload is in use.
    pub(super) fn is_used(&self, payload: Offset) -> bool {
        let found = self
            .blocks
            .iter()
            .find(|block| block.place + HEADER == payload.0);
        found.is_some_and(|block| !block.free)
    }

    fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {self:#?}"));
        let end = self
            .blocks
            .last()
            .map_or(self.start, |block| block.place + block.size);
        if end != self.top {
            return wrong("the last block does not end at the top");
        }
        if self.last != self.blocks.last().map_or(0, |block| block.size) {
            return wrong("`last` is not the last block's size");
        }
        let mut before = Block {
            place: 0,
            size: 0,
            before: 0,
            free: false,
            dirty: 0,
        };
        for block in &self.blocks {
            if block.size == 0 || block.size % UNIT != 0 || block.place % UNIT != 0 {
                return wrong(&format!("the block at {} is misshapen", block.place));
            }
            if block.before != before.size {
                return wrong(&format!(
                    "the block at {} does not know the one before",
                    block.place
                ));
            }
            if block.free && before.free {
                return wrong(&format!("the block at {} did not merge", block.place));
            }
            if block.dirty > block.size {
                return wrong(&format!(
                    "the block at {} is dirtier than large",
                    block.place
                ));
            }
            before = *block;
        }
        let sum = |which: fn(&&Block) -> bool| {
            self.blocks
                .iter()
                .filter(which)
                .map(|block| block.size)
                .sum::<u64>()
        };
        if self.used != sum(|block| !block.free) {
            return wrong("`used` is not the sum of what is in use");
        }
        let large = self.blocks.iter().filter(|block| block.size >= LARGE);
        if self.retained != large.map(|block| block.dirty).sum::<u64>() {
            return wrong("`retained` is not the sum of what is retained");
        }
        self.check_bins()
    }

    fn check_bins(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {self:#?}"));
        let free: BTreeMap<u64, u64> = self
            .blocks
            .iter()
            .filter(|block| block.free)
            .map(|block| (block.place, block.size))
            .collect();
        let mut listed = BTreeSet::new();
        for (bin, list) in &self.bins {
            for place in list {
                if free.get(place).map(|size| class(size / UNIT)) != Some(*bin) {
                    return wrong(&format!("the block at {place} is in a wrong list"));
                }
                if !listed.insert(*place) {
                    return wrong(&format!("the block at {place} is listed twice"));
                }
            }
        }
        if listed.len() != free.len() {
            return wrong("a free block is in no list");
        }
        for row in 0..ROWS {
            let expected = (0..COLUMNS).filter(|column| self.bins.contains_key(&(row, *column)));
            let expected = expected.fold(0, |bits, column| bits | 1 << column);
            if self.columns[row] != expected || (self.rows >> row & 1 == 1) != (expected != 0) {
                return wrong(&format!(
                    "the bits of row {row} do not agree with its lists"
                ));
            }
        }
        Ok(())
    }
}

fn class(units: u64) -> (usize, usize) {
    if units < COLUMNS as u64 {
        return (0, units as usize);
    }
    let log = units.ilog2();
    ((log - 3) as usize, (units >> (log - 4)) as usize % COLUMNS)
}

/// Checks that the heap is whole: that blocks chain, know their neighbours and merge, and that lists, bits and sums agree.
pub(crate) fn check(arena: &Arena) -> Result<(), String> {
    Heap::read(arena).check()
}

/// Empties the journal's entries, so that those of the next transaction can be told from older ones.
pub(super) fn clear_journal(arena: &Arena) {
    let journal = arena.offset_in(&arena.root().journal);
    for entry in 0..ENTRIES {
        let place = journal.plus(8 + 16 * entry);
        arena.word(place).store(0, Ordering::Relaxed);
    }
}

/// The places that the first transaction since [`clear_journal`] changed, and what they held before.
pub(super) fn changes(arena: &Arena) -> Vec<(Offset, u64)> {
    let journal = arena.offset_in(&arena.root().journal);
    let word = |place: Offset| arena.word(place).load(Ordering::Relaxed);
    let entries = (0..ENTRIES).map(|entry| journal.plus(8 + 16 * entry));
    entries
        .map(|entry| (Offset(word(entry)), word(entry.plus(8))))
        .take_while(|(place, _)| !place.is_none())
        .collect()
}

/// Makes the first `count` entries of the journal pending again.
pub(super) fn set_pending(arena: &Arena, count: usize) {
    let journal = arena.offset_in(&arena.root().journal);
    arena.word(journal).store(count as u64, Ordering::Relaxed);
}

/// How many bytes of memory the arena really takes.
pub(super) fn resident(arena: &Arena) -> u64 {
    // By its path: opening it and closing that would take the mark away that this process lives.
    let path = format!("/proc/self/fd/{}", arena.fd.as_raw_fd());
    std::fs::metadata(path)
        .expect("the arena has a descriptor")
        .blocks()
        * 512
}
