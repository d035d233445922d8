//! The heap against a model, and the journal at every point where a process may die.
//!
//! The last module is the heap's layout told a second time, and a check that the heap is whole.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::Ordering;
use std::thread;

use proptest::prelude::*;

use self::layout::{Heap, check};
use super::{Arena, Offset, Outgoing, Parcel, Tx};
use crate::error::Error;

mod layout;

/// An arena that no other test uses.
fn fresh() -> &'static Arena {
    let arena = Box::leak(Box::new(Arena::create().expect("making an arena")));
    arena
        .register_first_process()
        .expect("registering this process");
    arena
}

fn allocate(arena: &Arena, bytes: u64) -> Offset {
    let mut tx = arena.begin();
    let place = tx.allocate(bytes).expect("there is room");
    tx.commit();
    place
}

fn free(arena: &Arena, place: Offset) {
    let mut tx = arena.begin();
    tx.free(place, false);
    tx.commit();
}

#[derive(Debug, Clone)]
enum Step {
    Allocate(u64),
    /// Frees the block with this number, modulo how many there are.
    Free(usize),
    /// Allocates and frees, and is killed before the end.
    Die(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || {
        prop_oneof![
            8 => 0..300_u64,
            4 => 300..20_000_u64,
            1 => 20_000..5_000_000_u64
        ]
    };
    let step = prop_oneof![
        5 => bytes().prop_map(Step::Allocate),
        4 => any::<usize>().prop_map(Step::Free),
        1 => (bytes(), any::<usize>()).prop_map(|(bytes, number)| Step::Die(bytes, number)),
    ];
    prop::collection::vec(step, 1..200)
}

/// The blocks in use: where each begins, how long it is, and what its first words hold.
#[derive(Default)]
struct Model(BTreeMap<Offset, u64>);

impl Model {
    fn enter(&mut self, arena: &Arena, place: Offset, bytes: u64) {
        let before = self.0.range(..=place).next_back();
        let behind = self.0.range(place..).next();
        assert!(before.is_none_or(|(other, length)| other.0 + length <= place.0));
        assert!(behind.is_none_or(|(other, _)| place.0 + bytes <= other.0));
        for word in Self::words(place, bytes) {
            arena.word(word).store(word.0, Ordering::Relaxed);
        }
        self.0.insert(place, bytes);
    }

    fn pick(&self, number: usize) -> Option<Offset> {
        let number = number.checked_rem(self.0.len())?;
        self.0.keys().nth(number).copied()
    }

    fn leave(&mut self, arena: &Arena, place: Offset) {
        let bytes = self.0.remove(&place).expect("it is in use");
        Self::look(arena, place, bytes);
    }

    fn look(arena: &Arena, place: Offset, bytes: u64) {
        for word in Self::words(place, bytes) {
            assert_eq!(arena.word(word).load(Ordering::Relaxed), word.0);
        }
    }

    /// Words to fill: all of a small block's, the first and last of a large one's.
    fn words(place: Offset, bytes: u64) -> impl Iterator<Item = Offset> {
        let words = bytes / 8;
        let middle = 32..words.saturating_sub(32).max(32);
        (0..words)
            .filter(move |word| !middle.contains(word))
            .map(move |word| place.plus(8 * word))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn blocks_do_not_overlap_and_merge_when_they_are_freed(steps in steps()) {
        let arena = fresh();
        let start = Heap::read(arena).used;
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Allocate(bytes) => model.enter(arena, allocate(arena, bytes), bytes),
                Step::Free(number) => {
                    if let Some(place) = model.pick(number) {
                        model.leave(arena, place);
                        free(arena, place);
                    }
                }
                Step::Die(bytes, number) => die_in(arena, |tx| {
                    let new = tx.allocate(bytes).expect("there is room");
                    if let Some(place) = model.pick(number) {
                        tx.free(place, false);
                    }
                    tx.free(new, false);
                }),
            }
            check(arena).map_err(TestCaseError::fail)?;
        }
        for (place, bytes) in model.0 {
            Model::look(arena, place, bytes);
            free(arena, place);
        }
        check(arena).map_err(TestCaseError::fail)?;
        prop_assert_eq!(Heap::read(arena).used, start);
    }
}

/// Does `act` in a transaction of a thread that ends before it ends the transaction, as a process does that is killed.
fn die_in(arena: &'static Arena, act: impl FnOnce(&mut Tx<'_>) + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut tx = arena.begin();
            act(&mut tx);
            mem::forget(tx);
        });
    });
}

/// Does `act`, then checks for each of the words that its last transaction changed that death right before or after the
/// change leaves the heap as it was.
fn dies_well_everywhere(arena: &'static Arena, act: impl FnOnce()) {
    let before = Heap::read(arena);
    layout::clear_journal(arena);
    act();
    let changes = layout::changes(arena);
    assert!(!changes.is_empty());
    for done in (0..=changes.len()).rev() {
        let (done, rest) = changes.split_at(done);
        // As if the first changes were done and the rest were not.
        for (place, old) in rest.iter().rev() {
            arena.word(*place).store(*old, Ordering::Relaxed);
        }
        let done_values: Vec<_> = done
            .iter()
            .map(|(place, _)| arena.word(*place).load(Ordering::Relaxed))
            .collect();
        layout::set_pending(arena, done.len());
        die_in(arena, |_| {});
        assert_eq!(
            Heap::read(arena),
            before,
            "after {} of {}",
            done.len(),
            changes.len()
        );
        check(arena).expect("the heap is whole");
        for ((place, _), value) in done.iter().zip(done_values) {
            arena.word(*place).store(value, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_death_at_any_word_of_an_allocation_undoes_it() {
    let arena = fresh();
    let blocks = [100, 1000, 100, 3_000_000, 100, 1000, 100].map(|bytes| allocate(arena, bytes));
    for index in [1, 3, 5] {
        free(arena, blocks[index]);
    }
    for bytes in [10, 1000, 2_000_000, 3_000_000, 10_000_000] {
        dies_well_everywhere(arena, || {
            allocate(arena, bytes);
        });
    }
}

#[test]
fn a_death_at_any_word_of_a_free_undoes_it() {
    let arena = fresh();
    let blocks = [100; 9].map(|bytes| allocate(arena, bytes));
    // Without free neighbours, with one behind, with one before, between two, and the last one.
    for index in [1, 0, 6, 7, 3, 2, 8] {
        dies_well_everywhere(arena, || free(arena, blocks[index]));
        free_if_used(arena, blocks[index]);
    }
}

/// Frees a block whose freeing was undone.
fn free_if_used(arena: &Arena, place: Offset) {
    if Heap::read(arena).is_used(place) {
        free(arena, place);
    }
}

#[test]
fn a_transaction_that_is_dropped_changes_nothing() {
    let arena = fresh();
    let used = allocate(arena, 500);
    let before = Heap::read(arena);
    for stop in 0..4 {
        let mut tx = arena.begin();
        if stop > 0 {
            tx.allocate(64).expect("there is room");
        }
        if stop > 1 {
            tx.free(used, false);
        }
        if stop > 2 {
            tx.allocate(5_000_000).expect("there is room");
        }
        drop(tx);
        assert_eq!(Heap::read(arena), before);
    }
    check(arena).expect("the heap is whole");
}

#[test]
fn a_failed_allocation_changes_nothing() {
    let arena = fresh();
    let before = Heap::read(arena);
    for bytes in [
        1 << 38,
        1 << 40,
        1 << 50,
        u64::MAX / 2,
        u64::MAX - 70,
        u64::MAX,
    ] {
        let refused = arena.begin().allocate(bytes);
        assert!(
            matches!(refused, Err(Error::OutOfMemory { wanted, .. }) if wanted == bytes),
            "{refused:?}"
        );
    }
    assert_eq!(Heap::read(arena), before);
}

#[test]
fn bytes_of_parcels_of_any_size_are_kept() {
    let arena = fresh();
    let used = Heap::read(arena).used;
    for length in [0, 1, 55, 56, 57, 4096, 1 << 20, (1 << 20) + 1, 5 << 20] {
        let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let parcel = Parcel::new(arena, &bytes, &mut Outgoing::default()).expect("there is room");
        assert!(parcel.bytes() == bytes, "{length} bytes");
    }
    check(arena).expect("the heap is whole");
    assert_eq!(Heap::read(arena).used, used);
}

#[test]
fn pages_of_large_parcels_go_back_to_the_system() {
    let arena = fresh();
    let bytes = vec![1; 64 << 20];
    let parcels: Vec<_> = (0..8)
        .map(|_| Parcel::new(arena, &bytes, &mut Outgoing::default()).expect("there is room"))
        .collect();
    assert!(layout::resident(arena) >= 512 << 20);
    drop(parcels);
    check(arena).expect("the heap is whole");
    let left = layout::resident(arena);
    assert!(left <= 200 << 20, "{left} bytes are resident");
}

#[test]
fn pages_of_many_small_parcels_go_back_to_the_system() {
    let arena = fresh();
    let bytes = vec![1; 250 << 10];
    let parcels: Vec<_> = (0..2000)
        .map(|_| Parcel::new(arena, &bytes, &mut Outgoing::default()).expect("there is room"))
        .collect();
    drop(parcels);
    check(arena).expect("the heap is whole");
    let left = layout::resident(arena);
    assert!(left <= 200 << 20, "{left} bytes are resident");
}

#[test]
fn large_parcels_keep_their_pages_after_one_that_was_larger() {
    let arena = fresh();
    drop(Parcel::new(arena, &vec![1; 256 << 20], &mut Outgoing::default()).expect("there is room"));
    // Splits the block whose pages were given back.
    let _small = Parcel::new(arena, &[1; 100], &mut Outgoing::default()).expect("there is room");
    drop(Parcel::new(arena, &vec![1; 8 << 20], &mut Outgoing::default()).expect("there is room"));
    let kept = layout::resident(arena);
    assert!(kept >= 8 << 20, "{kept} bytes are resident");
}
