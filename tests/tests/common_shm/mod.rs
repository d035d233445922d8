//! What the tests of shared memory have in common.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, thread};

/// How long something may take that ought to happen soon.
pub const LONG: Duration = Duration::from_secs(60);

/// How many processes a test kills: `MP_KILLS`, or a number that does not take long.
///
/// A test is ended after a minute, which is enough for some thousand kills; for more, run it again and again.
pub fn kills() -> u32 {
    env::var("MP_KILLS").map_or(75, |kills| kills.parse().expect("MP_KILLS is a number"))
}

pub fn stats() -> mp::ArenaStats {
    mp::arena_stats().expect("the arena is there")
}

/// Random numbers (xorshift), different in each run; the seed is printed, and `MP_SEED` sets it.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970");
        let seed = env::var("MP_SEED").map_or(now.as_nanos() as u64, |seed| {
            seed.parse().expect("MP_SEED is a number")
        });
        eprintln!("MP_SEED={seed}");
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Lets a moment pass, so that what others do is interrupted anywhere.
    pub fn moment(&mut self) {
        thread::sleep(Duration::from_nanos(self.below(1_500_000)));
    }
}

/// Kills a process, and checks that this is what ended it.
#[track_caller]
pub fn kill<R: serde::de::DeserializeOwned + std::fmt::Debug>(process: mp::Process<R>) {
    process.kill().expect("killing");
    match process.join() {
        Err(mp::ProcessError::Signaled { signal: 9, .. }) => {}
        other => panic!("not killed: {other:?}"),
    }
}
