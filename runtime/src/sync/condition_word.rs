//! The words of a condition: who waits, and how many of them may go on.
//!
//! `state` is one word of three numbers, and the commit point of everything; they sleep at a [`Signal`].
//!
//! | part | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | `waiters` | how many have entered and not left | who enters, +1; who leaves, −1. At the most that fits it stays | a waiter: it is counted for ever; the others go on |
//! | `wakes` | how many of them may leave, never more than `waiters` | who notifies, +1 or to `waiters`; who leaves by it, −1 | a waiter that was woken: the next that looks takes it |
//! | `round` | how often somebody notified | who notifies, +1 | – |
//! | the signal | notified after every change for which sleepers must look | who notified | burying the dead lets all look; so they do by themselves once in a second |
//!
//! A waiter leaves by a wake only if `round` has changed since it entered: nobody takes what was meant for those who came
//! before. So while there is a waiter for which no notification came yet, `wakes` is less than `waiters`, and the next
//! notification is not dropped; and without deaths each notification lets exactly one go. A dead waiter stays in the count, so
//! that a wake may stay too, by which another one leaves for no reason some day. It never takes a wake from the living.
//!
//! Whom the system wakes for one notification may have entered after it, in the moment between the change of the state and the
//! wake-up. It may not leave, and those who may sleep on; so it wakes them. Once is enough: until the next notification, after
//! which it may leave itself, nobody is sent to sleep who may.

use std::time::Instant;

use super::Signal;
use super::atomic::{AtomicU64, Ordering};
use super::wait::Patience;

#[repr(C)]
pub(super) struct ConditionWord {
    state: AtomicU64,
    /// Where those who wait sleep.
    signal: Signal,
}

/// What a waiter has to keep between entering and leaving: the round in which it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

const COUNT_BITS: u32 = 20;
const ROUND_BITS: u32 = 24;
const MOST: u64 = (1 << COUNT_BITS) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    waiters: u64,
    wakes: u64,
    round: u64,
}

impl State {
    fn unpack(word: u64) -> Self {
        Self {
            waiters: word & MOST,
            wakes: word >> COUNT_BITS & MOST,
            round: word >> (2 * COUNT_BITS),
        }
    }

    fn pack(self) -> u64 {
        let round = self.round % (1 << ROUND_BITS);
        self.waiters | self.wakes << COUNT_BITS | round << (2 * COUNT_BITS)
    }

    fn entered(self) -> Self {
        Self {
            waiters: (self.waiters + 1).min(MOST),
            ..self
        }
    }

    fn left(self) -> Self {
        let counted = self.waiters < MOST;
        Self {
            waiters: self.waiters - u64::from(counted),
            ..self
        }
    }

    /// After a waiter has left by a wake; `None` when there is none for it.
    fn woken(self, ticket: Ticket) -> Option<Self> {
        (self.wakes > 0 && self.round != ticket.0).then(|| Self {
            wakes: self.wakes - 1,
            ..self.left()
        })
    }

    /// Whether those may leave who came before the waiter, and it may not.
    fn is_for_others(self, ticket: Ticket) -> bool {
        self.wakes > 0 && self.round == ticket.0
    }

    /// After `count` more may go; `None` when all may already.
    fn notified(self, count: u64) -> Option<Self> {
        (self.wakes < self.waiters).then(|| Self {
            wakes: self.waiters.min(self.wakes.saturating_add(count)),
            round: self.round + 1,
            ..self
        })
    }
}

impl ConditionWord {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            signal: Signal::new(),
        }
    }

    /// Enters the caller among those who wait. Every notification from here on may be for it.
    pub(super) fn enter(&self) -> Ticket {
        let before = self.update(|state| Some(state.entered()));
        Ticket(before.map_or(0, |state| state.round))
    }

    /// Waits until a notification lets the caller go. Returns `false` when `deadline` passed. The caller has left then,
    /// either way.
    pub(super) fn wait(&self, ticket: Ticket, deadline: Option<Instant>) -> bool {
        let mut patience = Patience::default();
        let mut has_woken_others = false;
        let may_leave = || self.update(|state| state.woken(ticket)).is_some();
        loop {
            if may_leave() {
                return true;
            }
            if patience.wait() {
                continue;
            }
            let announced = self.signal.announce();
            if may_leave() {
                return true;
            }
            if !self.signal.sleep(announced, deadline) {
                return self.leave(ticket);
            }
            if !has_woken_others && self.state().is_for_others(ticket) {
                self.signal.knock();
                has_woken_others = true;
            }
        }
    }

    /// Lets one that waits go, if there is one.
    pub(super) fn notify_one(&self) {
        self.notify(1);
    }

    /// Lets all go that wait.
    pub(super) fn notify_all(&self) {
        self.notify(u32::MAX);
    }

    /// Lets all that sleep look.
    pub(super) fn knock(&self) {
        self.signal.knock();
    }

    /// Leaves, by a wake if there is one, and tells whether there was.
    fn leave(&self, ticket: Ticket) -> bool {
        self.update(|state| Some(state.woken(ticket).unwrap_or_else(|| state.left())))
            .is_some_and(|state| state.woken(ticket).is_some())
    }

    fn notify(&self, count: u32) {
        if self.update(|state| state.notified(count.into())).is_some() {
            self.signal.notify_up_to(count);
        }
    }

    fn state(&self) -> State {
        State::unpack(self.state.load(Ordering::Acquire))
    }

    /// Changes the state, and returns what it was before; `None` when `change` wants no change.
    fn update(&self, change: impl Fn(State) -> Option<State>) -> Option<State> {
        let mut word = self.state.load(Ordering::Acquire);
        loop {
            let state = State::unpack(word);
            let next = change(state)?.pack();
            match self
                .state
                .compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(state),
                Err(now) => word = now,
            }
        }
    }
}
