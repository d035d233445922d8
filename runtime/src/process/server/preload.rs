//! What a fork server runs before it is copied.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::arena::{Held, Incoming, Outgoing};
use crate::error::Result;
use crate::registry::{self, Give, ProcessFn};
use crate::sys::{AsFd, OwnedFd};
use crate::{arena, wire};

/// A call of a function, encoded, that can be sent again and again.
#[derive(Clone)]
pub(crate) struct Preload {
    function: String,
    arguments: Vec<u8>,
    /// The objects that the arguments name.
    objects: Vec<Arc<Held>>,
    /// The descriptors among the arguments.
    fds: Arc<Vec<OwnedFd>>,
}

static PRELOAD: Mutex<Option<Preload>> = Mutex::new(None);

pub(super) fn get() -> Option<Preload> {
    PRELOAD
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Lets the fork server of this process run `F` with `args` once, before it makes the first child.
///
/// What the function leaves in a `static` is there in every child that is started by
/// [`Forkserver`](crate::StartMethod::Forkserver), and its memory is shared until somebody changes it: a table that is
/// dear to make is made once. The function's value is dropped.
///
/// A fork server that runs already is ended, and its children live on; the next child has the next server. A server that
/// was killed is made again, and runs the function again.
///
/// The function must not leave threads behind. If it does, starts fail with
/// [`Error::ForkServerWithThreads`](crate::Error::ForkServerWithThreads), and if it panics with
/// [`Error::Preload`](crate::Error::Preload).
///
/// # Examples
///
/// ```
/// use std::sync::OnceLock;
///
/// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
///
/// #[mp::process_fn]
/// fn prepare(size: u64) {
///     TABLE.get_or_init(|| (0..size).map(|n| n * n).collect());
/// }
///
/// #[mp::process_fn]
/// fn look_up(index: usize) -> Option<u64> {
///     TABLE.get()?.get(index).copied()
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     mp::set_forkserver_preload::<prepare>(1000)?;
///     let builder = || mp::Builder::new().start_method(mp::StartMethod::Forkserver);
///     assert_eq!(builder().spawn::<look_up>(12)?.join()?, Some(144));
///     assert_eq!(builder().spawn::<look_up>(13)?.join()?, Some(169));
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`Error::Encode`](crate::Error::Encode) if an argument cannot be encoded, and those of making the shared memory.
pub fn set_forkserver_preload<F: ProcessFn>(args: F::Args<'_>) -> Result<()> {
    // Handles in the arguments are of this tree.
    arena::arena()?;
    let preload = wire::with_draft(
        |draft| registry::encode::<F>(&args, draft),
        |draft, outgoing| Preload {
            function: F::NAME.to_owned(),
            arguments: draft.bytes().to_vec(),
            objects: std::mem::take(&mut outgoing.objects),
            fds: Arc::new(std::mem::take(&mut outgoing.fds)),
        },
    )?;
    *PRELOAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(preload);
    super::retire();
    Ok(())
}

impl Preload {
    /// In the server: runs the function.
    ///
    /// # Panics
    ///
    /// When the function does, or cannot be called.
    pub(super) fn run(self) {
        let Some(function) = registry::find(&self.function) else {
            panic!(
                "the preload function `{}` is not there: {}",
                self.function,
                registry::hint(&self.function)
            );
        };
        let fds = Arc::try_unwrap(self.fds).unwrap_or_default();
        let give = Give {
            head: &[],
            take: &mut |_, _| {},
        };
        if let Err(error) = (function.run)(&self.arguments, fds, &|_| {}, give) {
            resume_unwind(Box::new(format!(
                "the preload function `{}` cannot be called: {error:?}",
                self.function
            )));
        }
    }
}

impl Serialize for Preload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        for object in &self.objects {
            Outgoing::refer(object).map_err(ser::Error::custom)?;
        }
        // Their numbers among the arguments are those that they have here.
        for (number, fd) in (0..).zip(&*self.fds) {
            let attached = Outgoing::attach(fd.as_fd()).map_err(ser::Error::custom)?;
            debug_assert_eq!(attached, number);
        }
        let count = self.fds.len() as u32;
        (&self.function, &self.arguments, count).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Preload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (function, arguments, count): (String, Vec<u8>, u32) =
            Deserialize::deserialize(deserializer)?;
        let fds = (0..count).map(|number| {
            Incoming::detach(number)
                .ok_or_else(|| de::Error::custom("a descriptor of the arguments is missing"))
        });
        Ok(Self {
            function,
            arguments,
            objects: Vec::new(),
            fds: Arc::new(fds.collect::<Result<_, _>>()?),
        })
    }
}
