//! The word of a barrier: who has come, and how the last rounds ended.
//!
//! A *round* begins empty and ends when all have come, or when it is broken. One word is the commit point of everything:
//!
//! | part | meaning | who may change it | its owner died here |
//! |---|---|---|---|
//! | `arrived` | how many have come in this round, always fewer than the parties | who comes, +1; who ends the round, to 0 | it has come: the round goes on with the others |
//! | `broken` | nobody may come until a reset | who aborts or waits for too long sets it; a reset clears it | – |
//! | `history` | how the last 16 rounds ended, the last in the lowest bit, 1 for broken | who ends a round | – |
//! | `round` | how many rounds have ended | who ends a round, +1, and then wakes those who sleep | they look by themselves once in a second |
//!
//! A waiter remembers its round. When the word is in a later one, the history says how its own ended, however late it looks.
//! One that is more than 16 rounds late is told that its round broke if any of the last 16 did.

use std::time::Instant;

use super::Signal;
use super::atomic::{AtomicU64, Ordering};
use super::wait::Patience;

#[repr(C)]
pub(super) struct BarrierWord {
    state: AtomicU64,
    /// Where those who wait sleep.
    signal: Signal,
}

/// What coming to a barrier led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// All have come: the round is over.
    Last,
    /// The caller waits for the end of this round.
    Early(Round),
    /// The barrier is broken.
    Broken,
}

/// The number of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round(u64);

/// How a round ended for one who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Broken,
    TimedOut,
}

/// The most parties that a barrier can have.
pub(super) const MOST: u64 = (1 << ARRIVED_BITS) - 1;

const ARRIVED_BITS: u32 = 24;
const BROKEN_AT: u32 = ARRIVED_BITS;
const HISTORY_AT: u32 = BROKEN_AT + 1;
const HISTORY_BITS: u32 = 16;
const ROUND_AT: u32 = HISTORY_AT + HISTORY_BITS;
const ROUNDS: u64 = 1 << (64 - ROUND_AT);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    arrived: u64,
    broken: bool,
    history: u16,
    round: u64,
}

impl State {
    fn unpack(word: u64) -> Self {
        Self {
            arrived: word & MOST,
            broken: word >> BROKEN_AT & 1 == 1,
            history: (word >> HISTORY_AT) as u16,
            round: word >> ROUND_AT,
        }
    }

    fn pack(self) -> u64 {
        self.arrived
            | u64::from(self.broken) << BROKEN_AT
            | u64::from(self.history) << HISTORY_AT
            | self.round << ROUND_AT
    }

    fn ended(self, as_broken: bool) -> Self {
        Self {
            arrived: 0,
            history: self.history << 1 | u16::from(as_broken),
            round: (self.round + 1) % ROUNDS,
            ..self
        }
    }

    /// Breaks the round that somebody waits in; an empty one goes on.
    fn interrupted(self) -> Self {
        if self.arrived > 0 {
            self.ended(true)
        } else {
            self
        }
    }

    fn broken(self) -> Self {
        Self {
            broken: true,
            ..self.interrupted()
        }
    }

    fn reset(self) -> Self {
        Self {
            broken: false,
            ..self.interrupted()
        }
    }

    /// How `round` ended, if it has.
    fn ending(self, round: Round) -> Option<Ending> {
        let later = self.round.wrapping_sub(round.0) % ROUNDS;
        if later == 0 {
            return None;
        }
        let its_bit = if later <= u64::from(HISTORY_BITS) {
            1 << (later - 1)
        } else {
            u16::MAX
        };
        Some(match self.history & its_bit {
            0 => Ending::Passed,
            _ => Ending::Broken,
        })
    }
}

impl BarrierWord {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            signal: Signal::new(),
        }
    }

    /// Comes to the barrier, as one of `parties`. The last one lets the others go.
    pub(super) fn arrive(&self, parties: u64) -> Arrival {
        let before = self.update(|state| {
            if state.broken {
                None
            } else if state.arrived + 1 >= parties {
                Some(state.ended(false))
            } else {
                Some(State {
                    arrived: state.arrived + 1,
                    ..state
                })
            }
        });
        match before {
            None => Arrival::Broken,
            Some(state) if state.arrived + 1 >= parties => {
                self.signal.notify();
                Arrival::Last
            }
            Some(state) => Arrival::Early(Round(state.round)),
        }
    }

    /// Waits for the end of a round. When `deadline` passes before, the barrier is broken.
    pub(super) fn wait(&self, round: Round, deadline: Option<Instant>) -> Ending {
        let mut patience = Patience::default();
        loop {
            if let Some(ending) = self.state().ending(round) {
                return ending;
            }
            if patience.wait() {
                continue;
            }
            let announced = self.signal.announce();
            if let Some(ending) = self.state().ending(round) {
                return ending;
            }
            if !self.signal.sleep(announced, deadline) {
                return self.give_up(round);
            }
        }
    }

    /// Breaks the barrier until it is reset.
    pub(super) fn abort(&self) {
        self.update(|state| Some(state.broken()));
        self.signal.notify();
    }

    /// Makes the barrier an empty, whole one.
    pub(super) fn reset(&self) {
        self.update(|state| Some(state.reset()));
        self.signal.notify();
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u64 {
        self.state().arrived
    }

    /// Lets all that sleep look.
    pub(super) fn knock(&self) {
        self.signal.knock();
    }

    /// Breaks the barrier, if this round has not ended by now.
    fn give_up(&self, round: Round) -> Ending {
        let before = self.update(|state| match state.ending(round) {
            None => Some(state.broken()),
            Some(_) => None,
        });
        if before.is_some() {
            self.signal.notify();
            return Ending::TimedOut;
        }
        // Rounds do not begin again: this one has ended.
        self.state().ending(round).unwrap_or(Ending::Broken)
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
                .compare_exchange(word, next, Ordering::SeqCst, Ordering::Acquire)
            {
                Ok(_) => return Some(state),
                Err(now) => word = now,
            }
        }
    }
}
