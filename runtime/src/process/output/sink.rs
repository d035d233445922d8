//! Where what children write goes.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::line::{OutputLine, OutputStream};
use super::split::End;

/// Where what children write goes.
#[derive(Clone)]
pub(super) enum Sink {
    /// To a stream of this process.
    Stream(OutputStream),
    Function(Arc<Function>),
}

pub(super) type Function = dyn Fn(&OutputLine) + Send + Sync;

/// What is to be passed on next.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    lines: Vec<OutputLine>,
}

/// How the lines of a child are passed on.
pub(super) enum Form {
    /// As they are.
    Plain,
    /// With this before each.
    Tagged(String),
    /// As values; this is one without what is in it.
    Values(OutputLine),
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.lines.is_empty()
    }

    #[cfg(test)]
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn push(&mut self, form: &Form, line: &[u8], end: End) {
        if let Form::Plain = form {
            self.bytes.extend_from_slice(line);
            self.bytes.extend_from_slice(match end {
                End::Line => b"\n",
                End::ReturnAndLine => b"\r\n",
                End::Return => b"\r",
                End::Cut | End::Last => b"",
            });
            return;
        }
        let line = match end {
            // A bar that begins with a return.
            End::Return if line.is_empty() => return,
            // It is not drawn over any more.
            End::Last => line.strip_suffix(b"\r").unwrap_or(line),
            _ => line,
        };
        match form {
            Form::Tagged(tag) => {
                self.bytes.extend_from_slice(tag.as_bytes());
                self.bytes.extend_from_slice(line);
                self.bytes.extend_from_slice(match end {
                    End::Line | End::Cut | End::Last => b"\n",
                    End::ReturnAndLine => b"\r\n",
                    End::Return => b"\r",
                });
            }
            Form::Values(value) => self.lines.push(OutputLine {
                bytes: line.to_vec(),
                end,
                ..value.clone()
            }),
            Form::Plain => {}
        }
    }
}

impl Sink {
    /// Passes on what there is, and leaves the batch empty; calls `take` before each step.
    pub(super) fn pass_on(&self, batch: &mut Batch, take: impl Fn()) {
        take();
        match self {
            // Nobody is left to be told of an error here.
            Sink::Stream(OutputStream::Stdout) => drop(write(&mut io::stdout().lock(), batch)),
            Sink::Stream(OutputStream::Stderr) => drop(write(&mut io::stderr().lock(), batch)),
            Sink::Function(function) => {
                for line in batch.lines.drain(..) {
                    take();
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| function(&line))) {
                        // It was told by the panic hook. To drop it may panic, too.
                        std::mem::forget(panic);
                    }
                }
            }
        }
        batch.bytes.clear();
    }
}

/// In one piece, under the lock that this process's own lines are printed under.
fn write(stream: &mut impl Write, batch: &Batch) -> io::Result<()> {
    stream.write_all(&batch.bytes)?;
    stream.flush()
}
