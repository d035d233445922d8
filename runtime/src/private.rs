//! What the expansion of macros names. Not public API.

pub use inventory;

pub use crate::arena::waiting_descriptors;
#[cfg(feature = "kill-points")]
pub use crate::kill_point::armed::die_at;
pub use crate::process::{main, test};
pub use crate::registry::{ArgumentError, Borrowed, Decoder, Encoder, Function};

/// Runs the future of an `async` process function to its end, on a runtime of its own.
///
/// # Panics
///
/// When the runtime cannot be made.
#[cfg(feature = "tokio")]
pub fn block_on_tokio<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the tokio runtime of a process function starts")
        .block_on(future)
}
