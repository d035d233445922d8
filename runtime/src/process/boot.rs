//! The first thing that happens in a program: is it a child with an order?
//!
//! # Safety
//!
//! Two things are sound only at the beginning of a process, before other threads look: to take the mark out of the
//! environment, and to adopt the descriptors that it names.

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use super::account::Desk;
use super::exec;
use super::exit;
use super::isolated::Report;
use super::method::{self, StartMethod, set_start_method};
use super::outcome::{Head, Outcome, describe_panic, ran, watch_panics};
use super::tree::{self, Identity, Parent};
use crate::arena::{self, CHILD_MARK, Draft, Offset, Outgoing, Parcel, Stage};
use crate::error::{Error, Ran, Subject};
use crate::registry::{self, ArgumentError, Give, Step};
use crate::sys::{self, AsFd, OwnedFd};
use crate::wire;

/// How this process may start children.
enum Mode {
    Program,
    /// By the test of this path.
    Test(&'static str),
}

static MODE: OnceLock<Mode> = OnceLock::new();

pub(super) fn is_initialized() -> bool {
    MODE.get().is_some()
}

thread_local! {
    /// The path of the test that runs on this thread.
    static TEST: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The path of the test that a child is to be started on: this thread's, or else the first one of this process.
pub(super) fn test_path() -> Option<&'static str> {
    match MODE.get() {
        _ if TEST.get().is_some() => TEST.get(),
        Some(Mode::Test(path)) => Some(path),
        _ => None,
    }
}

/// How many threads this process has that may be in the middle of something. The harness of a test waits for the test's thread
/// on the first one, and does nothing else.
pub(super) fn threads() -> usize {
    sys::thread_count(TEST.get().is_some())
}

/// Does by hand what `#[mp::main]` does. To be the first statement of `main`.
///
/// In a child, it runs the child's function and does not return. Whatever stands before it in `main` runs in every
/// child too. Where two process functions of the program have one name, it says so and ends the program.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// fn main() -> mp::Result<()> {
///     mp::init();
///     assert_eq!(mp::spawn!(double, 21)?.join()?, 42);
///     Ok(())
/// }
/// ```
#[doc(alias = "freeze_support")]
pub fn init() {
    enter(Mode::Program);
}

/// What `#[mp::main]` puts before the statements of `main`.
#[doc(hidden)]
pub fn main(method: Option<&'static str>) {
    enter(Mode::Program);
    if let Some(name) = method {
        let result = StartMethod::from_name(name).map_or(Ok(()), set_start_method);
        if let Err(error) = result {
            fail(&format!("#[mp::main(start_method = \"{name}\")]: {error}"));
        }
    }
}

/// What `#[mp::test]` puts before the statements of a test. `path` begins with the crate's name, which the harness
/// omits.
#[doc(hidden)]
pub fn test(path: &'static str) {
    let path = path.split_once("::").map_or(path, |(_, rest)| rest);
    TEST.set(Some(path));
    enter(Mode::Test(path));
}

fn enter(mode: Mode) {
    exec::remember_program();
    if let Some(mark) = std::env::var_os(CHILD_MARK) {
        let mark = mark.to_string_lossy().into_owned();
        // SAFETY: this is the beginning of `main`, or of the only test that a test harness runs in a child: no other thread
        // of this program looks at the environment.
        #[allow(unsafe_code)]
        unsafe {
            std::env::remove_var(CHILD_MARK);
        }
        // Whoever starts a set-user-id program chooses its environment and descriptors, and with them could choose which
        // function runs with the rights of another user.
        if !sys::is_set_user_id() {
            let _ = MODE.set(mode);
            boot(&mark);
        }
    }
    if MODE.set(mode).is_ok() {
        if let Some([a, b]) = registry::duplicate() {
            fail(&format!(
                "two process functions are named `{}`: at {}:{} and at {}:{}; a child could not tell them apart. Rename one, or \
                 give it a name with #[process_fn(name = \"…\")]",
                a.name(),
                a.file(),
                a.line(),
                b.file(),
                b.line()
            ));
        }
        exit::prepare();
    }
}

/// Stops the program before anything of it has run.
pub(super) fn fail(message: &str) -> ! {
    // Not by `eprintln!`, which a test harness catches.
    let _ = writeln!(std::io::stderr(), "multiproc: {message}");
    std::process::exit(exit::BOOT_FAILED);
}

/// What the environment tells a child: which record is its own, and which descriptors are for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) record: u64,
    pub(super) serial: u64,
    /// Whether the last descriptor is the standard output, hidden from a test harness.
    pub(super) stdout: bool,
    /// The arena's three, the parent, and those among the arguments. An isolated process has no record (0), and the socket to
    /// its parent and the file with its order in place of the arena.
    pub(super) fds: Vec<i32>,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.record,
            self.serial,
            u8::from(self.stdout)
        )?;
        self.fds.iter().try_for_each(|fd| write!(f, ":{fd}"))
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let mut number = || parts.next().ok_or(())?.parse::<u64>().map_err(|_| ());
        let (record, serial, stdout) = (number()?, number()?, number()? == 1);
        let fds = parts
            .map(|part| part.parse().map_err(|_| ()))
            .collect::<Result<Vec<i32>, ()>>()?;
        // The arena's and the parent at least, and no descriptor twice, or two owners would close it.
        let distinct = fds
            .iter()
            .enumerate()
            .all(|(index, fd)| *fd > 2 && !fds[..index].contains(fd));
        let least = if record == 0 { 3 } else { 4 };
        if fds.len() < least + usize::from(stdout) || !distinct {
            return Err(());
        }
        Ok(Self {
            record,
            serial,
            stdout,
            fds,
        })
    }
}

/// Runs this child's function, and ends the process.
fn boot(mark: &str) -> ! {
    let (desk, order, fds) = attach(mark).unwrap_or_else(|reason| {
        fail_unless_orphaned(&reason, &format!(
            "{CHILD_MARK} is set to `{mark}`, which makes this process a child of another one, but it cannot be: {reason}. If \
             this is no child, something set the variable by hand: unset it"
        ))
    });
    exit::prepare();
    let code = run(desk, &order, fds);
    drop(order);
    std::process::exit(code)
}

/// Runs the function of this child, a copy of another process, and ends it.
pub(super) fn boot_copy(record: Offset, serial: u64, parent: Arc<OwnedFd>, fds: Vec<OwnedFd>) -> ! {
    let attached = arena::arena()
        .map_err(|error| error.to_string())
        .and_then(|arena| {
            let order = take_order(record, serial, &parent)?;
            introduce(&order, parent)?;
            Ok((Desk::Tree(arena), order))
        });
    let (desk, order) = attached.unwrap_or_else(|reason| {
        fail_unless_orphaned(
            &reason,
            &format!("a copy of this process cannot take its order: {reason}"),
        )
    });
    let code = run(desk, &order, fds);
    drop(order);
    sys::exit_copy(code)
}

/// Takes the order of this process. Where the parent has died, and with it the order, nobody is to hear of it: the reason is empty.
fn take_order(record: Offset, serial: u64, parent: &OwnedFd) -> Result<Order, String> {
    let arena = arena::arena().map_err(|error| error.to_string())?;
    arena
        .take_order(record, serial)
        .map(Order::Parcel)
        .map_err(|reason| {
            if sys::is_of_the_dead(parent.as_fd()) {
                String::new()
            } else {
                reason
            }
        })
}

/// Stops the program before anything of it has run; in silence if there is no reason to tell.
fn fail_unless_orphaned(reason: &str, message: &str) -> ! {
    if reason.is_empty() {
        std::process::exit(exit::BOOT_FAILED);
    }
    fail(message)
}

/// Takes the order that a mark tells of, with the arena and the descriptors among the arguments.
fn attach(mark: &str) -> Result<(Desk, Order, Vec<OwnedFd>), String> {
    let mark: Mark = mark
        .parse()
        .map_err(|()| "it is no mark that this version of the library makes".to_owned())?;
    let adopt = |fd: &i32| {
        // SAFETY: the descriptors after the standard streams are those that the parent passed; this process has just begun,
        // and owns none yet that it could know of. The mark is checked to name none twice.
        #[allow(unsafe_code)]
        unsafe { sys::adopt_fd(*fd) }
            .map_err(|error| format!("descriptor {fd} is not there: {error}"))
    };
    let mut fds = mark.fds.iter().map(adopt).collect::<Result<Vec<_>, _>>()?;
    if mark.stdout
        && let Some(stdout) = fds.pop()
    {
        sys::replace_stdout(stdout)
            .map_err(|error| format!("its standard output cannot be restored: {error}"))?;
    }
    let mut fds = fds.into_iter();
    let mut next = || {
        fds.next()
            .ok_or_else(|| "descriptors are missing".to_owned())
    };
    let (desk, order) = if mark.record == 0 {
        arena::isolate();
        let report = Report::new(next()?);
        let order = sys::read_sealed(next()?)
            .map_err(|error| format!("a descriptor is not that of an order: {error}"))?;
        let report: &'static Report = Box::leak(Box::new(report));
        (Desk::Isolated(report), Some(Order::Plain(order)))
    } else {
        let arena = arena::adopt([next()?, next()?, next()?])
            .map_err(|error| format!("a descriptor is not that of a tree of processes: {error}"))?;
        (Desk::Tree(arena), None)
    };
    let parent = Arc::new(next()?);
    let order = match order {
        Some(order) => order,
        None => take_order(Offset(mark.record), mark.serial, &parent)?,
    };
    introduce(&order, parent)?;
    Ok((desk, order, fds.collect()))
}

/// What a child is to do: a head, and the arguments of its function.
enum Order {
    Parcel(Parcel),
    Plain(Vec<u8>),
}

impl Order {
    fn bytes(&self) -> &[u8] {
        match self {
            Order::Parcel(parcel) => parcel.bytes(),
            Order::Plain(bytes) => bytes,
        }
    }

    /// Takes the descriptors that were too many to be passed with the start.
    fn take_fds(&self) -> Result<Vec<OwnedFd>, Error> {
        match self {
            Order::Parcel(parcel) if parcel.has_descriptors() => parcel.take_fds(),
            _ => Ok(Vec::new()),
        }
    }
}

/// Makes this process the one that its order names.
fn introduce(order: &Order, parent: Arc<OwnedFd>) -> Result<(), String> {
    let order = head(&mut order.bytes())?;
    sys::set_thread_name(order.name);
    tree::set_identity(Identity {
        name: order.name.to_owned().into(),
        lineage: order.lineage.to_owned(),
        daemon: order.daemon,
        parent: Some(Parent {
            pid: order.parent_pid,
            name: order.parent_name.to_owned(),
            process: parent,
        }),
    });
    order.changes.make()?;
    sys::limit_self(&order.limits).map_err(|(option, error)| {
        format!("the system refuses its `{option}`, which its parent may not exceed: {error}")
    })?;
    if let Some(method) = order.method {
        method::inherit(method);
    }
    sys::leave_interrupts_to_parent();
    if order.daemon {
        exit::follow_parent(order.leads_group)
            .map_err(|error| format!("it cannot watch its parent: {error}"))?;
    }
    Ok(())
}

/// Takes the head of an order from the front of its bytes.
fn head<'a>(bytes: &mut &'a [u8]) -> Result<Head<'a>, String> {
    wire::take(bytes, &|| "the order".to_owned()).map_err(|error| error.to_string())
}

/// Runs the function, leaves its outcome, and returns the exit code.
fn run(desk: Desk, order: &Order, mut fds: Vec<OwnedFd>) -> i32 {
    let mut arguments = order.bytes();
    let waiting = order.take_fds().map_err(|error| error.to_string());
    let head = waiting.and_then(|waiting| {
        fds.extend(waiting);
        head(&mut arguments)
    });
    let outcome = match head {
        Err(message) => Outcome::Decode { message },
        Ok(Head { function, .. }) => match registry::find(function) {
            None => Outcome::UnknownFunction {
                hint: registry::hint(function),
            },
            Some(function) => match call(desk, function, arguments, fds) {
                Ok(code) => return code,
                Err(outcome) => outcome,
            },
        },
    };
    outcome.leave(desk);
    outcome.exit_code()
}

/// Calls the function, and leaves its value.
fn call(
    desk: Desk,
    function: &'static registry::Function,
    arguments: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<i32, Outcome> {
    let subject = move || Subject {
        name: tree::identity().name.to_string(),
        pid: std::process::id(),
        function: function.name().to_owned(),
        ran: match ran(desk.stage()) {
            // The value is encoded, and is not safe yet.
            Ran::Yes => Ran::Yes,
            other => other,
        },
        stderr: String::new(),
    };
    watch_panics(move |panic| Outcome::Panicked(panic).leave(desk), subject);
    let enter = |step| {
        desk.enter(match step {
            Step::Calling => Stage::Running,
            Step::Returned => Stage::Returned,
        });
    };
    let mut left = Ok(());
    let mut take = |value: &mut Draft, outgoing: &mut Outgoing| {
        left = desk.leave(value, outgoing);
    };
    let give = Give {
        head: Outcome::HEAD_OF_VALUE,
        take: &mut take,
    };
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        (function.run)(arguments, fds, &enter, give)
    }));
    match result {
        Ok(Ok(())) => match left {
            Ok(()) => Ok(Outcome::Value.exit_code()),
            // The stage tells the rest.
            Err(Error::OutOfMemory { .. }) => Ok(exit::NO_ROOM),
            Err(error) => Err(Outcome::Encode {
                message: format!("the value of `{}` cannot be left: {error}", function.name()),
            }),
        },
        Ok(Err(ArgumentError::Decode(error))) => Err(Outcome::Decode {
            message: error.to_string(),
        }),
        Ok(Err(ArgumentError::Encode(error))) => Err(Outcome::Encode {
            message: error.to_string(),
        }),
        Ok(Err(ArgumentError::NotSmall)) => unreachable!("encoded at any length"),
        Err(payload) => Err(Outcome::Panicked(describe_panic(&*payload, subject()))),
    }
}
