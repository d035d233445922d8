//! What the machine can do: the least that two processes need for a thing, written by hand.
//!
//! Nothing here survives a death, tells an error or sleeps politely. That is the point: it is the limit.

mod area;
mod mutex;
mod ring;
mod start;
mod word;

pub use area::{Area, Plain};
pub use mutex::RobustMutex;
pub use ring::{Ends, Ring};
pub use start::{Bare, ForkServer, private_memory, stop, until_stopped};
pub use word::{Patience, Waiting, Word, word};
