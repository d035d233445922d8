//! What the expansion of macros names. Not public API.

pub use inventory;

pub use crate::arena::waiting_descriptors;
#[cfg(feature = "kill-points")]
pub use crate::kill_point::armed::{die_at, signal_at};
pub use crate::process::{end_fork_server, main, test};
pub use crate::registry::{ArgumentError, Borrowed, Decoder, Encoder, Function};

/// Runs the future of an `async` process function to its end, on a runtime of its own.
///
/// # Panics
///
/// When the runtime cannot be made.
#[cfg(feature = "tokio")]
pub fn block_on_tokio<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the tokio runtime of a process function starts");
    if tokio::runtime::Handle::try_current().is_err() {
        return runtime.block_on(future);
    }
    // A copy of a thread that ran another runtime: tokio takes it for running that one still, and refuses to block it.
    let value = {
        let _entered = runtime.enter();
        block_on(future)
    };
    runtime.shutdown_background();
    value
}

/// Polls a future on this thread until it is ready.
#[cfg(feature = "tokio")]
fn block_on<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake};
    use std::thread::{self, Thread};

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Messages as bytes, for the tests that put any bytes in their place.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use std::os::fd::OwnedFd;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::error::{DecodeError, EncodeError};
    use crate::registry::Give;
    use crate::{registry, wire};

    /// Gives the bytes and the descriptors of a message. It keeps no object alive.
    pub fn encode<T: Serialize>(value: &T) -> Result<(Vec<u8>, Vec<OwnedFd>), EncodeError> {
        let subject = || "a message".to_owned();
        wire::with_draft(
            |draft| wire::append(value, draft, &subject),
            |draft, outgoing| (draft.bytes().to_vec(), std::mem::take(&mut outgoing.fds)),
        )
    }

    /// Decodes a message as the receiving ends of queues and connections do.
    pub fn decode<T: DeserializeOwned>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T, DecodeError> {
        wire::decode(bytes, fds, &|| "a message".to_owned())
    }

    /// Decodes arguments, calls a process function and encodes its value as a child does; tells whether it came to that.
    ///
    /// # Panics
    ///
    /// When no function has this name.
    pub fn call(function: &str, arguments: &[u8], fds: Vec<OwnedFd>) -> bool {
        let function = registry::find(function).expect("the function is registered");
        let give = Give {
            head: &[],
            take: &mut |_, _| {},
        };
        (function.run)(arguments, fds, &|_| {}, give).is_ok()
    }
}
