//! Process functions, by name.
//!
//! Every `#[process_fn]` submits an entry to `inventory` before `main`. Names cross between processes, never addresses
//! or positions: `inventory`'s order differs from build to build.

use std::fmt;
use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use crate::arena::hash;
use crate::arena::{Draft, Incoming, Outgoing};
use crate::error::{DecodeError, EncodeError};
use crate::sys::OwnedFd;
use crate::wire::{self, Small};

/// A function that a child process can run by name.
///
/// [`#[process_fn]`](macro@crate::process_fn) implements it for a type of the function's name; it is not implemented
/// by hand. It is what code names that runs a function of its caller's choice.
///
/// # Examples
///
/// ```
/// use mp::ProcessFn;
///
/// fn twice<F: ProcessFn>(first: F::Args<'_>, second: F::Args<'_>) -> mp::Result<[F::Output; 2]> {
///     let first = mp::Builder::new().spawn::<F>(first)?;
///     let second = mp::Builder::new().spawn::<F>(second)?;
///     Ok([first.join()?, second.join()?])
/// }
///
/// #[mp::process_fn]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     assert_eq!(twice::<double>(20, 21)?, [40, 42]);
///     assert!(double::NAME.ends_with("::double"));
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process function",
    label = "not a process function",
    note = "mark the function with `#[mp::process_fn]`"
)]
pub trait ProcessFn: Sized + 'static {
    /// What the function takes: `()` for no argument, the bare type for one, a tuple for several.
    type Args<'a>;
    /// What the function returns.
    type Output: Serialize + DeserializeOwned;
    /// The name that it is registered under.
    const NAME: &'static str;

    #[doc(hidden)]
    fn encode(args: &Self::Args<'_>, to: &mut Encoder<'_>) -> Result<(), ArgumentError>;
    #[doc(hidden)]
    fn decode<'a>(from: &mut Decoder<'a>) -> Result<Self::Args<'a>, ArgumentError>;
    #[doc(hidden)]
    fn call(args: Self::Args<'_>) -> Self::Output;
}

/// A registered process function, as [`functions`] lists it.
///
/// # Examples
///
/// ```
/// #[mp::process_fn(name = "reports::send")]
/// fn send() {}
///
/// let function = mp::functions().find(|function| function.name() == "reports::send").unwrap();
/// assert!(function.file().ends_with(".rs"));
/// assert!(function.line() > 0);
/// ```
pub struct Function {
    name: &'static str,
    file: &'static str,
    line: u32,
    pub(crate) run: Run,
    pub(crate) call_many: fn(&mut dyn Calls),
}

/// Decodes arguments, calls a function, encodes its value. `enter` is told before the call and after it.
pub(crate) type Run = fn(
    arguments: &[u8],
    fds: Vec<OwnedFd>,
    enter: &dyn Fn(Step),
    give: Give<'_>,
) -> Result<(), ArgumentError>;

/// Where the value goes.
pub(crate) struct Give<'a> {
    /// What precedes it.
    pub(crate) head: &'a [u8],
    /// Takes head and value, encoded.
    pub(crate) take: &'a mut dyn FnMut(&mut Draft, &mut Outgoing),
}

/// Calls of one function, one after the other: what a pool's worker has to do.
///
/// The worker decides what is next, and takes what comes of it; between the two, nothing but the function's own types is
/// handled, so that small calls cost little.
pub(crate) trait Calls {
    /// Begins the next call; `None` when there is none for this function.
    fn next(&mut self) -> Option<Arguments>;

    /// Says how far the call has come.
    fn enter(&mut self, step: Step);

    /// Takes the value, if it can be taken so.
    fn give_small(&mut self, value: &Small) -> bool;

    /// Whether values of this function are likely to be small.
    fn expects_small(&self) -> bool;

    /// Takes the value.
    fn give(&mut self, value: &mut Draft, outgoing: &mut Outgoing);

    /// Takes the error in its place.
    fn fail(&mut self, error: ArgumentError);
}

/// Encoded arguments.
pub(crate) struct Arguments {
    pub(crate) bytes: &'static [u8],
    /// What came with them, if they may name objects.
    pub(crate) fds: Option<Vec<OwnedFd>>,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Calling,
    Returned,
}

inventory::collect!(Function);

/// Encodes the arguments of a call, if they are small.
#[inline]
pub(crate) fn encode_small<F: ProcessFn>(args: &F::Args<'_>) -> Option<Small> {
    let mut small = Small::new();
    let mut encoder = Encoder {
        to: To::Small(&mut small),
        function: F::NAME,
    };
    F::encode(args, &mut encoder).ok()?;
    Some(small)
}

/// Encodes the arguments of a call.
#[inline]
pub(crate) fn encode<F: ProcessFn>(
    args: &F::Args<'_>,
    draft: &mut Draft,
) -> Result<(), EncodeError> {
    let mut encoder = Encoder {
        to: To::Draft(draft),
        function: F::NAME,
    };
    F::encode(args, &mut encoder).map_err(|error| match error {
        ArgumentError::Encode(error) => error,
        other => unreachable!("encoding at any length: {other:?}"),
    })
}

impl Function {
    #[doc(hidden)]
    pub const fn new<F: ProcessFn>(file: &'static str, line: u32) -> Self {
        Self {
            name: F::NAME,
            file,
            line,
            run: run::<F>,
            call_many: call_many::<F>,
        }
    }

    /// Returns the name that it is registered under.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn(name = "reports::read")]
    /// fn read() {}
    ///
    /// assert!(mp::functions().any(|function| function.name() == "reports::read"));
    /// ```
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the source file that it is in, as [`file!`] tells it.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn(name = "reports::file")]
    /// fn file() {}
    ///
    /// assert!(mp::functions().any(|function| function.file() == file!()));
    /// ```
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// Returns the line that it begins in.
    ///
    /// # Examples
    ///
    /// ```
    /// #[mp::process_fn(name = "reports::line")]
    /// fn line() {}
    ///
    /// let function = mp::functions().find(|function| function.name() == "reports::line").unwrap();
    /// assert!(function.line() < line!());
    /// ```
    pub fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name, self.file, self.line)
    }
}

fn run<F: ProcessFn>(
    arguments: &[u8],
    fds: Vec<OwnedFd>,
    enter: &dyn Fn(Step),
    give: Give<'_>,
) -> Result<(), ArgumentError> {
    let mut decoder = Decoder {
        bytes: arguments,
        function: F::NAME,
    };
    let args = Incoming::provide(fds, || F::decode(&mut decoder))?;
    enter(Step::Calling);
    let value = F::call(args);
    enter(Step::Returned);
    let subject = || format!("the value of `{}`", F::NAME);
    let encode = |draft: &mut Draft| {
        draft.write(give.head);
        wire::append(&value, draft, &subject)
    };
    wire::with_draft(encode, give.take).map_err(ArgumentError::Encode)
}

fn call_many<F: ProcessFn>(calls: &mut dyn Calls) {
    while let Some(Arguments { bytes, fds }) = calls.next() {
        let mut decoder = Decoder {
            bytes,
            function: F::NAME,
        };
        let args = match fds {
            None => F::decode(&mut decoder),
            Some(fds) => Incoming::provide(fds, || F::decode(&mut decoder)),
        };
        let args = match args {
            Ok(args) => args,
            Err(error) => {
                calls.fail(error);
                continue;
            }
        };
        calls.enter(Step::Calling);
        let value = F::call(args);
        calls.enter(Step::Returned);
        let is_given = calls.expects_small() && {
            let mut small = Small::new();
            small.append(&value) && calls.give_small(&small)
        };
        if !is_given {
            let subject = || format!("the value of `{}`", F::NAME);
            let encode = |draft: &mut Draft| wire::append(&value, draft, &subject);
            let result = wire::with_draft(encode, |draft, outgoing| calls.give(draft, outgoing));
            if let Err(error) = result {
                calls.fail(ArgumentError::Encode(error));
            }
        }
    }
}

/// Iterates over the process functions of this program, by name.
///
/// # Examples
///
/// ```
/// #[mp::process_fn(name = "greet")]
/// fn greet() {}
///
/// assert!(mp::functions().any(|function| function.name() == "greet"));
/// ```
pub fn functions() -> impl Iterator<Item = &'static Function> {
    sorted()
        .iter()
        .copied()
        .filter(|function| !function.name.starts_with(OWN))
}

/// What the names of this library's own functions begin with.
const OWN: &str = "mp::";

fn sorted() -> &'static [&'static Function] {
    static SORTED: OnceLock<Vec<&'static Function>> = OnceLock::new();
    SORTED.get_or_init(|| {
        let mut all: Vec<_> = inventory::iter::<Function>.into_iter().collect();
        all.sort_by_key(|function| (function.name, function.file, function.line));
        all
    })
}

/// Two functions of one name, if there are: a child could not tell which one is meant.
pub(crate) fn duplicate() -> Option<[&'static Function; 2]> {
    sorted()
        .windows(2)
        .find(|pair| pair[0].name == pair[1].name)
        .map(|pair| [pair[0], pair[1]])
}

/// The function of this name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    sorted()
        .binary_search_by_key(&name, |function| function.name)
        .ok()
        .map(|index| sorted()[index])
}

/// The function whose name has this [hash].
pub(crate) fn find_hashed(hash_of_name: u64) -> Option<&'static Function> {
    static HASHED: OnceLock<FxHashMap<u64, &'static Function>> = OnceLock::new();
    let hashed = || {
        sorted()
            .iter()
            .map(|function| (hash(function.name), *function))
    };
    HASHED
        .get_or_init(|| hashed().collect())
        .get(&hash_of_name)
        .copied()
}

/// Why there may be no function of this name, in a sentence.
pub(crate) fn hint(name: &str) -> String {
    const ALIKE: f64 = 0.85;
    let mut alike: Vec<(f64, &str)> = sorted()
        .iter()
        .map(|function| (strsim::jaro_winkler(name, function.name), function.name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<String> = alike
        .iter()
        .take(3)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    let known = match names.as_slice() {
        [] => format!("none of the {} it has is named alike", sorted().len()),
        names => format!("it has {}", names.join(", ")),
    };
    format!(
        "{known}. If the function is in a crate that nothing else mentions, the linker leaves that crate out: add \
         `use the_crate as _;`. If the program was replaced while it ran, parent and child are different versions"
    )
}

/// An argument that did not get across.
#[doc(hidden)]
#[derive(Debug)]
pub enum ArgumentError {
    /// In the parent; for the value, in the child.
    Encode(EncodeError),
    /// In the child.
    Decode(DecodeError),
    /// They were to be small.
    NotSmall,
}

/// Where `ProcessFn::encode` puts arguments.
#[doc(hidden)]
pub struct Encoder<'a> {
    to: To<'a>,
    function: &'static str,
}

enum To<'a> {
    Draft(&'a mut Draft),
    Small(&'a mut Small),
}

impl Encoder<'_> {
    pub fn argument<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ArgumentError> {
        let function = self.function;
        match &mut self.to {
            To::Draft(draft) => wire::append(value, *draft, &|| subject(name, function))
                .map_err(ArgumentError::Encode),
            To::Small(small) => match small.append(value) {
                true => Ok(()),
                false => Err(ArgumentError::NotSmall),
            },
        }
    }
}

/// Where `ProcessFn::decode` takes arguments from.
#[doc(hidden)]
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    function: &'static str,
}

impl<'a> Decoder<'a> {
    pub fn argument<T: Deserialize<'a>>(&mut self, name: &'static str) -> Result<T, ArgumentError> {
        wire::take(&mut self.bytes, &|| subject(name, self.function)).map_err(ArgumentError::Decode)
    }

    pub fn borrowed<T: Borrowed<'a> + ?Sized>(
        &mut self,
        name: &'static str,
    ) -> Result<&'a T, ArgumentError> {
        T::borrow(self, name)
    }
}

fn subject(argument: &str, function: &str) -> String {
    format!("argument `{argument}` of `{function}`")
}

/// What can be borrowed from a message, for the sake of an error that says so.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`&{Self}` cannot be an argument of a process function",
    label = "cannot be borrowed from the message that brings it",
    note = "serde borrows `&str`, `&[u8]` and `&Path`; take anything else by value, and `Vec<T>` for `&[T]`"
)]
pub trait Borrowed<'a> {
    fn borrow(from: &mut Decoder<'a>, name: &'static str) -> Result<&'a Self, ArgumentError>;
}

#[diagnostic::do_not_recommend]
impl<'a, T: ?Sized + 'a> Borrowed<'a> for T
where
    &'a T: Deserialize<'a>,
{
    fn borrow(from: &mut Decoder<'a>, name: &'static str) -> Result<&'a T, ArgumentError> {
        from.argument(name)
    }
}
