//! What children write to their standard output and error, on its way through this process.
//!
//! [`Capture`] says where it goes; [`Output`] is what a child has of it. The work is done by relays, see `relay.rs`.

mod line;
mod relay;
mod sink;
mod split;
mod tail;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Instant;

pub use line::{OutputLine, OutputStream};

use self::relay::{Relay, Source};
use self::sink::{Form, Sink};
use self::split::End;
use self::tail::Tail;
use super::Stdio;
use crate::sys::OwnedFd;

/// The standard streams that are output, by their numbers.
const STREAMS: [(usize, OutputStream); 2] = [(1, OutputStream::Stdout), (2, OutputStream::Stderr)];

static STDOUT: LazyLock<Arc<Relay>> = LazyLock::new(|| Relay::new("mp-stdout"));
static STDERR: LazyLock<Arc<Relay>> = LazyLock::new(|| Relay::new("mp-stderr"));

/// Where what a child writes goes.
#[derive(Clone)]
pub(crate) struct Capture {
    /// For each of [`STREAMS`].
    places: [Option<Place>; 2],
    is_tagged: bool,
}

#[derive(Clone)]
struct Place {
    relay: Arc<Relay>,
    sink: Sink,
}

impl Place {
    fn stream(stream: OutputStream) -> Self {
        let relay = match stream {
            OutputStream::Stdout => &STDOUT,
            OutputStream::Stderr => &STDERR,
        };
        Self {
            relay: Arc::clone(relay),
            sink: Sink::Stream(stream),
        }
    }
}

impl Capture {
    /// To the streams of this process, with tags.
    pub(crate) fn tagged() -> Self {
        Self {
            places: STREAMS.map(|(_, stream)| Some(Place::stream(stream))),
            is_tagged: true,
        }
    }

    /// The standard error to that of this process, as it is.
    pub(crate) fn plain_stderr() -> Self {
        Self {
            places: [None, Some(Place::stream(OutputStream::Stderr))],
            is_tagged: false,
        }
    }

    /// To a function, which one thread calls.
    pub(crate) fn function(function: impl Fn(&OutputLine) + Send + Sync + 'static) -> Self {
        let place = Place {
            relay: Relay::new("mp-output"),
            sink: Sink::Function(Arc::new(function)),
        };
        Self {
            places: [Some(place.clone()), Some(place)],
            is_tagged: true,
        }
    }

    /// Asks for pipes in place of the streams of a child that nothing was said about.
    pub(super) fn claim(&mut self, stdio: &mut [Option<Stdio>; 3]) {
        for ((number, _), place) in STREAMS.into_iter().zip(&mut self.places) {
            if stdio[number].is_some() {
                *place = None;
            } else if place.is_some() {
                stdio[number] = Some(Stdio::piped());
            }
        }
    }

    /// Waits until what children have written that have ended has been passed on, but not for a place that takes nothing.
    pub(crate) fn settle(&self) {
        for place in self.places.iter().flatten() {
            place.relay.settle(None);
        }
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

/// The output of a child that is captured.
pub(super) struct Output {
    /// The relay of each stream that is captured, and the stream's number there.
    taps: Vec<(Arc<Relay>, u64)>,
    /// The end of its standard error.
    tail: Option<Arc<Tail>>,
}

impl Output {
    /// Begins to pass on what a child writes.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread, or a pipe to wake it.
    pub(super) fn begin(
        capture: &Capture,
        mut take_pipe: impl FnMut(usize) -> Option<OwnedFd>,
        name: &str,
        pid: u32,
    ) -> io::Result<Self> {
        let mut output = Self {
            taps: Vec::new(),
            tail: None,
        };
        for ((number, stream), place) in STREAMS.into_iter().zip(&capture.places) {
            let Some(Place { relay, sink }) = place else {
                continue;
            };
            let Some(pipe) = take_pipe(number) else {
                continue;
            };
            let form = match sink {
                Sink::Stream(_) if !capture.is_tagged => Form::Plain,
                Sink::Stream(_) => Form::Tagged(format!("[{name}] ")),
                Sink::Function(_) => Form::Values(OutputLine {
                    name: name.into(),
                    pid,
                    stream,
                    bytes: Vec::new(),
                    end: End::Last,
                }),
            };
            if stream == OutputStream::Stderr {
                output.tail = Some(Arc::default());
            }
            let tail = output.tail.clone();
            let id = relay.connect(Source::new(pipe, form, tail)?, sink)?;
            output.taps.push((Arc::clone(relay), id));
        }
        Ok(output)
    }

    /// The child has ended: reads what is left. What it has started may write on, if `goes_on`.
    pub(super) fn finish(&self, goes_on: bool) {
        for (relay, id) in &self.taps {
            relay.finish(*id, goes_on);
        }
    }

    /// Waits until what was read has been passed on, but not for a place that takes nothing.
    pub(super) fn settle(&self, deadline: Option<Instant>) {
        for (relay, _) in &self.taps {
            relay.settle(deadline);
        }
    }

    /// The last lines of its standard error.
    pub(super) fn last_lines(&self) -> String {
        self.tail
            .as_ref()
            .map_or_else(String::new, |tail| tail.last_lines())
    }
}

/// Waits until what children have written that have ended has been passed on, but not for places that take nothing.
pub(super) fn settle_all() {
    relay::settle_all();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
