//! Lines of a child's output, as a function gets them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::split::End;

/// One of the two streams that a process writes to.
///
/// # Examples
///
/// ```
/// assert_eq!(mp::OutputStream::Stderr.to_string(), "stderr");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

impl fmt::Display for OutputStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        })
    }
}

/// A line that a child has written to its standard output or error, see [`Builder::on_output`](crate::Builder::on_output).
///
/// Displayed it is the line with its tag, as [`Builder::capture_output`](crate::Builder::capture_output) prints it.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// #[mp::process_fn]
/// fn greet() {
///     println!("hello");
///     eprint!("no end of the line");
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let lines = Arc::new(Mutex::new(Vec::new()));
///     let heard = Arc::clone(&lines);
///     let process = mp::Builder::new()
///         .on_output(move |line| heard.lock().unwrap().push(line.clone()))
///         .spawn::<greet>(())?;
///     let pid = process.id();
///     process.join()?;
///
///     let mut lines = lines.lock().unwrap();
///     lines.sort_by_key(|line| line.stream() == mp::OutputStream::Stderr);
///     assert_eq!(lines[0].text(), "hello");
///     assert_eq!((lines[0].name(), lines[0].pid()), ("Process-1", pid));
///     assert_eq!(lines[1].stream(), mp::OutputStream::Stderr);
///     assert_eq!(lines[1].to_string(), "[Process-1] no end of the line");
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputLine {
    pub(super) name: Arc<str>,
    pub(super) pid: u32,
    pub(super) stream: OutputStream,
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

impl OutputLine {
    /// Returns the name of the process that was started with the option. Processes that it has started write to the same
    /// streams, and their lines have its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of that process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells where the line was written to.
    pub fn stream(&self) -> OutputStream {
        self.stream
    }

    /// Returns the line as it was written, without its end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the line as text. What is no UTF-8 is replaced by `�`.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// Tells whether the next line is to be drawn over this one, because it ends with a carriage return alone, as the states
    /// of a progress bar do.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// #[mp::process_fn]
    /// fn work() {
    ///     print!("\r50 %\r100 %\ndone\r\n");
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let lines = Arc::new(Mutex::new(Vec::new()));
    ///     let heard = Arc::clone(&lines);
    ///     let listen = move |line: &mp::OutputLine| {
    ///         heard.lock().unwrap().push((line.text().into_owned(), line.is_overwritten()));
    ///     };
    ///     mp::Builder::new().on_output(listen).spawn::<work>(())?.join()?;
    ///     let expected = [("50 %", true), ("100 %", false), ("done", false)];
    ///     assert_eq!(*lines.lock().unwrap(), expected.map(|(text, is)| (text.to_owned(), is)));
    ///     Ok(())
    /// }
    /// ```
    pub fn is_overwritten(&self) -> bool {
        self.end == End::Return
    }

    /// Tells whether this is a piece of a line that is longer than 64 KiB, which the next line of this stream goes on with.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// #[mp::process_fn]
    /// fn work() {
    ///     println!("{}", "x".repeat(100_000));
    /// }
    ///
    /// #[mp::main]
    /// fn main() -> mp::Result<()> {
    ///     let lines = Arc::new(Mutex::new(Vec::new()));
    ///     let heard = Arc::clone(&lines);
    ///     let listen = move |line: &mp::OutputLine| {
    ///         heard.lock().unwrap().push((line.bytes().len(), line.is_continued()));
    ///     };
    ///     mp::Builder::new().on_output(listen).spawn::<work>(())?.join()?;
    ///     assert_eq!(*lines.lock().unwrap(), [(65_536, true), (34_464, false)]);
    ///     Ok(())
    /// }
    /// ```
    pub fn is_continued(&self) -> bool {
        self.end == End::Cut
    }
}

impl fmt::Display for OutputLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.name, self.text())
    }
}
