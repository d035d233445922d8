//! Batches, whatever lies in them, and the line of batches, whoever leaves what undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::batch::{LARGE, Shape, Terms, View};
use super::body::{CLOSED, PoolBody};
use super::crew::{Crew, Rules};
use super::engine::Threads;
use super::item::{Item, MOST_RETRIES, Phase};
use super::line::{Graveyard, Wishes, lock};
use super::owned_batch::Batch;
use super::shared::Shared;
use super::words::{Claim, Cursor, link};
use super::worker::{Leave, Worker};
use crate::arena::{Draft, Outgoing, arena};
use crate::error::TaskError;
use crate::wire::{self, Small};

const SHAPE: Shape = Shape {
    capacity: 4,
    room: 24,
    area: 64,
    function: 1,
};

/// Calls `use_it` with a message of so many bytes, which are like no other message's.
fn with_message<R>(
    length: usize,
    seed: usize,
    use_it: impl FnOnce(&mut Draft, &mut Outgoing) -> R,
) -> R {
    let bytes = message(length, seed);
    let encode = |draft: &mut Draft| {
        draft.write(&bytes);
        Ok(())
    };
    wire::with_draft(encode, use_it).expect("nothing is encoded")
}

fn message(length: usize, seed: usize) -> Vec<u8> {
    let bytes = (0..length).map(|index| (index * 7 + seed * 13 + length) as u8);
    bytes.collect()
}

/// A pool whose owner looks after nothing, and which has no workers.
fn pool() -> Arc<Shared> {
    let rules = Rules {
        name: "Nobody".to_owned(),
        cancel_grace: Duration::ZERO,
        leaves_idle: false,
        check: None,
    };
    let crew = Crew::new(Box::new(Threads), rules, 0).expect("making a pipe");
    let handle = PoolBody::create().expect("making a pool");
    let pool = Arc::new(Shared::new(handle, Wishes::default(), crew));
    pool.handle.body().line.seats.store(2, Ordering::Release);
    lock(&pool.line).begin(&pool).expect("making a line");
    pool
}

/// A batch with so many items, which are of a function that nobody has: each fails when it is run.
fn batch(pool: &Arc<Shared>, items: u32) -> Arc<Batch> {
    let batch = Batch::new(pool, SHAPE, Wishes::default(), 0).expect("there is room");
    for _ in 0..items {
        batch.add_small(&Small::new(), 1).expect("there is room");
    }
    batch
}

/// Lets a worker run all that it finds.
fn work(pool: &Arc<Shared>, seat: u16) {
    let closing = &pool.handle.body().line.closing;
    closing.store(CLOSED, Ordering::SeqCst);
    assert_eq!(
        Worker::new(&pool.handle, seat, "nobody").work(),
        Leave::Done
    );
    closing.store(0, Ordering::SeqCst);
}

fn phases(batch: &Batch) -> Vec<Phase> {
    let items = 0..batch.view.filled();
    items.map(|index| batch.state(index).phase()).collect()
}

/// How many batches the pool has in the arena, as far as this process can know.
fn is_without_batches(pool: &Arc<Shared>, but: u64) -> bool {
    pool.handle.body().batches.load(Ordering::Acquire) == but
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_sizes_comes_back(
        sizes in prop::collection::vec((size(), size()), 1..40),
        room in 0..64_u32,
        area in 0..8192_u32,
        function in 0..2_u64,
        are_small in any::<bool>(),
    ) {
        let arena = arena().expect("there is an arena");
        let list = AtomicU64::new(0);
        let list_in_arena = {
            // The list's head must be in the arena.
            let mut tx = arena.begin();
            let place = tx.allocate(64).expect("there is room");
            tx.commit();
            arena.word(place).store(list.load(Ordering::Relaxed), Ordering::Relaxed);
            place
        };
        let list = arena.word(list_in_arena);
        let shape = Shape { capacity: sizes.len() as u32, room, area, function };
        let batch = View::make(arena, list, shape, Terms { timeout: 5, chunk: 6 }, 7).expect("there is room");
        let mut used = 0;
        for (index, (length, _)) in sizes.iter().enumerate() {
            let bytes = message(*length, index);
            let mut small = Small::new();
            let fits = are_small && bytes.len() <= 7 && bytes.iter().all(|byte| small.append(byte));
            let added = if fits { batch.add_small(used, &small, index as u64 + 1) } else { None };
            used = match added {
                Some(used) => used,
                None => with_message(*length, index, |draft, outgoing| {
                    batch.add(used, draft, outgoing, index as u64 + 1).expect("there is room")
                }),
            };
            prop_assert!(used <= u64::from(area));
        }
        prop_assert_eq!((batch.timeout(), batch.chunk(), batch.first()), (5, 6, 7));
        // As another process sees it.
        let theirs = View::at(arena, batch.place);
        prop_assert_eq!(theirs.filled() as usize, sizes.len());
        for (index, (_, length)) in sizes.iter().enumerate() {
            let item = index as u32;
            prop_assert!(theirs.item(item).begin(3).is_some());
            prop_assert!(theirs.get_result(item).is_none());
            let mut small = Small::new();
            let bytes = message(*length, index + 100);
            let fits = are_small && bytes.len() <= 32 && bytes.iter().all(|byte| small.append(byte));
            if !(fits && theirs.put_small(item, &small)) {
                with_message(*length, index + 100, |draft, outgoing| {
                    theirs.put_result(item, draft, outgoing).expect("there is room");
                });
            }
            prop_assert!(theirs.item(item).complete(3, Phase::Value).is_some());
        }
        for (index, (length, result)) in sizes.iter().enumerate() {
            let item = index as u32;
            let function = if function == 0 { index as u64 + 1 } else { 1 };
            prop_assert_eq!(batch.function(item), function);
            let arguments = batch.arguments(item);
            prop_assert_eq!(arguments.bytes(), message(*length, index));
            let came = batch.get_result(item).expect("it is there");
            prop_assert_eq!(came.bytes(), message(*result, index + 100));
            prop_assert!(batch.can_be_repeated(item));
            if index % 2 == 0 {
                batch.clean(item);
            }
        }
        // SAFETY: nobody else knows it.
        unsafe { batch.free() };
        prop_assert_eq!(list.load(Ordering::Relaxed), 0);
        let mut tx = arena.begin();
        tx.free(list_in_arena, false);
        tx.commit();
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..10_usize,
        10..70_usize,
        LARGE - 2..LARGE + 2,
        0..20_000_usize
    ]
}

#[test]
fn an_item_remembers_its_attempts_and_who_looks_at_it() {
    let item = Item::new();
    item.offer();
    assert!(item.watch());
    for attempt in 0..MOST_RETRIES {
        assert_eq!(item.begin(9).expect("it is ready").attempt(), attempt);
        assert!(!item.retry(8));
        assert!(item.retry(9));
    }
    assert!(item.begin(u16::MAX).is_some());
    assert!(item.state().is_run_by(u16::MAX));
    assert!(!item.request_cancel().is_cancelled());
    assert!(!item.retry(u16::MAX));
    let before = item.complete(u16::MAX, Phase::Value).expect("it runs");
    assert!(before.is_watched() && before.is_cancelled() && !before.is_waited());
    let state = item.state();
    assert!(state.is_final() && !state.has_failed());
    assert_eq!(state.attempt(), MOST_RETRIES);
    assert!(!item.watch());
    assert!(item.conclude().is_none());
}

#[test]
fn a_cursor_goes_back_within_its_life_and_over_seals_into_another_one() {
    let (cursor, filled, next) = (Cursor::new(), AtomicU64::new(4), AtomicU64::new(0));
    let claim = |share| cursor.claim(&filled, &next, |_| share, |_| {});
    assert!(matches!(claim(3), Claim::Items(items) if items == (0..3)));
    assert!(cursor.reopen(1) && cursor.reopen(2));
    assert!(matches!(claim(3), Claim::Items(items) if items == (1..4)));
    assert!(matches!(claim(3), Claim::Nothing));
    assert!(!cursor.has_more(&filled, &next));
    next.store(link(64, 0), Ordering::Relaxed);
    assert!(cursor.has_more(&filled, &next));
    assert!(matches!(claim(3), Claim::Sealed));
    assert!(!cursor.reopen(0));
    next.store(0, Ordering::Relaxed);
    cursor.renew(3);
    assert_eq!(cursor.life(), 1);
    assert!(matches!(claim(1), Claim::Items(items) if items == (3..4)));
    assert!(cursor.reopen(0));
    assert_eq!(cursor.life(), 1);
}

#[test]
fn what_is_given_back_is_claimed_again_in_the_line_or_behind_it() {
    for has_left in [false, true] {
        let pool = pool();
        let body = pool.handle.body();
        let first = batch(&pool, 3);
        let mut line = lock(&pool.line);
        line.push(body, &first).expect("it is open");
        // A worker that claims all, begins one, and dies.
        let claim = first.view.claim(|available| available, |_| {});
        assert!(matches!(claim, Claim::Items(items) if items == (0..3)));
        assert!(first.view.item(1).begin(0).is_some());
        let second = batch(&pool, 2);
        line.push(body, &second).expect("it is open");
        drop(line);
        if has_left {
            work(&pool, 1);
            assert_eq!(phases(&first), [Phase::Ready, Phase::Running, Phase::Ready]);
            assert_eq!(phases(&second), [Phase::Failure; 2]);
        }
        let was = first.view.link();
        assert!(!first.lose(1, 0, |_| TaskError::NotReady));
        lock(&pool.line).reopen(body, &first);
        assert_eq!(first.view.link() != was, has_left);
        work(&pool, 1);
        assert_eq!(
            phases(&first),
            [Phase::Failure, Phase::Over, Phase::Failure]
        );
        assert!(matches!(first.fate(1), TaskError::NotReady));
        assert_eq!(phases(&second), [Phase::Failure; 2]);
        assert!(!lock(&pool.line).tend_all());
    }
}

#[test]
fn who_saw_a_batch_in_another_life_moves_no_head() {
    let pool = pool();
    let body = pool.handle.body();
    let batches = [batch(&pool, 2), batch(&pool, 1)];
    for batch in &batches {
        lock(&pool.line).push(body, batch).expect("it is open");
    }
    let first = &batches[0];
    let was = first.view.link();
    assert!(matches!(
        first.view.claim(|_| 2, |_| {}),
        Claim::Items(items) if items == (0..2)
    ));
    work(&pool, 1);
    // It has seen that the batch is sealed, and sleeps, while the batch comes to the head again.
    lock(&pool.line).reopen(body, first);
    body.pass(batches[1].view.link(), first.view.link());
    let head = body.line.head.load(Ordering::Acquire);
    body.pass(was, first.view.header().next.load(Ordering::Acquire));
    assert_eq!(body.line.head.load(Ordering::Acquire), head);
    work(&pool, 1);
    assert_eq!(phases(first), [Phase::Failure; 2]);
}

#[test]
fn a_batch_that_nobody_knows_is_freed_when_the_head_and_all_workers_have_left_it() {
    let pool = pool();
    let body = pool.handle.body();
    let bury = || pool.bury();
    let first = batch(&pool, 1);
    let place = first.view.place.0;
    lock(&pool.line).push(body, &first).expect("it is open");
    work(&pool, 1);
    drop(first);
    bury();
    // It is known as long as it may not be done, and then lies where the head is.
    assert!(!lock(&pool.line).tend_all());
    bury();
    assert!(!pool.graveyard.is_empty());
    let second = batch(&pool, 1);
    lock(&pool.line).push(body, &second).expect("it is open");
    work(&pool, 0);
    bury();
    assert_eq!(body.seat(1).visiting.load(Ordering::Relaxed), place);
    assert!(!pool.graveyard.is_empty());
    work(&pool, 1);
    bury();
    assert!(pool.graveyard.is_empty());
    assert!(is_without_batches(&pool, second.view.place.0));
}

#[test]
fn a_batch_that_was_never_in_the_line_is_freed_at_once() {
    let pool = pool();
    let before = pool.handle.body().batches.load(Ordering::Acquire);
    drop(batch(&pool, 3));
    pool.bury();
    assert!(pool.graveyard.is_empty());
    assert!(is_without_batches(&pool, before));
    assert!(Graveyard::default().is_empty());
}
