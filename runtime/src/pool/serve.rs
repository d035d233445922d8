//! A worker from its start to its end, in a process or on a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use super::body::{PoolHandle, Seat, Stage};
use super::worker::{Leave, Worker};
use crate::arena::{Draft, Offset, Outgoing, Parcel};
use crate::channel::Fd;
use crate::error::{Ran, Subject};
use crate::process::{self, describe_panic};
use crate::registry::{self, ArgumentError, Decoder, Encoder, Function, Give, ProcessFn};
use crate::sys::{self, AsFd, OwnedFd};

/// The process function that worker processes run.
pub(super) struct Serve;

inventory::submit! { Function::new::<Serve>(file!(), line!()) }

/// What a worker process is given.
pub(super) struct Post {
    pub(super) pool: PoolHandle,
    pub(super) seat: u16,
    /// What it rings when its stage has changed.
    pub(super) bell: Fd<OwnedFd>,
    /// The only processor that it is to run on.
    pub(super) cpu: Option<usize>,
}

impl ProcessFn for Serve {
    type Args<'a> = Post;
    type Output = ();
    const NAME: &'static str = "mp::pool::serve";

    fn encode(args: &Post, to: &mut Encoder<'_>) -> Result<(), ArgumentError> {
        to.argument("pool", &args.pool)?;
        to.argument("seat", &args.seat)?;
        to.argument("bell", &args.bell)?;
        to.argument("cpu", &args.cpu)
    }

    fn decode(from: &mut Decoder<'_>) -> Result<Post, ArgumentError> {
        Ok(Post {
            pool: from.argument("pool")?,
            seat: from.argument("seat")?,
            bell: from.argument("bell")?,
            cpu: from.argument("cpu")?,
        })
    }

    fn call(args: Post) {
        sys::disregard_sigint();
        if let Some(cpu) = args.cpu {
            // A processor that it may not use was refused when the pool was made.
            let _ = sys::run_on(cpu);
        }
        let current = process::current_process();
        serve(&args.pool, args.seat, current.name(), &|| {
            sys::ring(args.bell.as_fd());
        });
    }
}

/// Takes a seat, works, and leaves it.
pub(super) fn serve(pool: &PoolHandle, number: u16, name: &str, ring: &dyn Fn()) {
    let seat = pool.body().seat(number);
    if initialize(pool, seat, name, ring) {
        let leave = Worker::new(pool, number, name).work();
        let hook = &pool.body().exit_hook;
        if leave == Leave::Done && hook.function.load(Ordering::Relaxed) != 0 {
            // It has printed its panic, and the worker has nothing more to do.
            let _ = with_arguments(pool, &hook.arguments, |arguments| {
                let function = hook.function.load(Ordering::Relaxed);
                run_hook(function, arguments, name, &mut |_, _| {})
            });
        }
    }
    seat.idle();
    seat.enter(Stage::Left);
}

/// Runs the initializer, if there is one; tells whether the worker may go on.
fn initialize(pool: &PoolHandle, seat: &Seat, name: &str, ring: &dyn Fn()) -> bool {
    let hook = &pool.body().initializer;
    let function = hook.function.load(Ordering::Relaxed);
    if function == 0 {
        seat.enter(Stage::Working);
        return true;
    }
    seat.enter(Stage::Initializing);
    let mut report =
        |draft: &mut Draft, outgoing: &mut Outgoing| present(pool, seat, draft, outgoing);
    let result = with_arguments(pool, &hook.arguments, |arguments| {
        run_hook(function, arguments, name, &mut report)
    });
    if let Err(message) = result {
        let failure: Result<(), String> = Err(message);
        let _ = crate::wire::with_draft(
            |draft| {
                crate::wire::append(&failure, draft, &|| "what became of an initializer".into())
            },
            report,
        );
        // So that it cannot be taken for the function's own value.
        seat.set_failed_to_initialize();
    }
    seat.enter(Stage::Presenting);
    ring();
    seat.wait_for_verdict()
}

/// Leaves what came of the initializer for the owner.
fn present(pool: &PoolHandle, seat: &Seat, draft: &mut Draft, outgoing: &mut Outgoing) {
    // Without room for it, its absence tells that.
    let Ok(parcel) = draft.finish(pool.arena(), outgoing) else {
        return;
    };
    let parcel = parcel.into_place();
    let mut tx = pool.arena().begin();
    tx.detach_parcel(parcel);
    tx.set(&seat.initialized, parcel.0);
    tx.commit();
}

/// Shows the bytes of a parcel that the pool owns.
pub(super) fn with_arguments<R>(
    pool: &PoolHandle,
    word: &std::sync::atomic::AtomicU64,
    show: impl FnOnce(&[u8]) -> R,
) -> R {
    let place = Offset(word.load(Ordering::Acquire));
    if place.is_none() {
        return show(&[]);
    }
    // SAFETY: the pool owns it for as long as it lives, nobody writes it, and it is not dropped here.
    let parcel = unsafe { Parcel::from_place(pool.arena(), place) };
    let parcel = std::mem::ManuallyDrop::new(parcel);
    show(parcel.bytes())
}

/// Runs a function that every worker runs once. Returns its value, encoded, to `take`.
fn run_hook(
    function: u64,
    arguments: &[u8],
    name: &str,
    take: &mut dyn FnMut(&mut Draft, &mut Outgoing),
) -> Result<(), String> {
    let Some(function) = registry::find_hashed(function) else {
        return Err("the workers' program does not have the function".to_owned());
    };
    let give = Give { head: &[], take };
    let result = catch_unwind(AssertUnwindSafe(|| {
        (function.run)(arguments, Vec::new(), &|_| {}, give)
    }));
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ArgumentError::Decode(error))) => Err(error.to_string()),
        Ok(Err(ArgumentError::Encode(error))) => Err(error.to_string()),
        Ok(Err(ArgumentError::NotSmall)) => unreachable!("encoded at any length"),
        Err(payload) => {
            let subject = Subject {
                name: name.to_owned(),
                pid: std::process::id(),
                function: function.name().to_owned(),
                ran: Ran::Partly,
                stderr: String::new(),
            };
            Err(describe_panic(&*payload, subject).to_string())
        }
    }
}
