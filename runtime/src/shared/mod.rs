//! Values in shared memory.
//!
//! # Safety
//!
//! Shared data is plain ([`Shareable`]). That of a [`Value`] or [`Array`] is touched only by the thread that owns its lock,
//! and references to it borrow the guard; that of a [`Shared`] is written by its maker before anybody else has a handle, and
//! never again; an [`Atomic`] is atomic. References to these two borrow a handle. Blocks cite the arena's invariants (A1–A6).
//!
//! [`SharedMemory`] is not in the arena, and other programs may do with it what they like: it gives no reference to anything
//! but atomics without `unsafe`.

#![allow(unsafe_code)]

mod array;
mod atomic;
mod data;
mod named;
mod value;

pub use array::{Array, ArrayGuard};
pub use atomic::{Atomic, AtomicPrimitive};
pub use data::{Shared, SharedContent};
pub use named::SharedMemory;
pub use value::{Value, ValueGuard};

use crate::error::{Error, Result};

/// Plain data that processes can share: any bytes are a value of it, and it holds no pointer.
///
/// It is implemented for everything that is [`bytemuck::Pod`], which can be derived. What is not plain data does not
/// compile: send it through a [`Queue`](crate::Queue) instead.
///
/// # Examples
///
/// ```
/// use mp::bytemuck::{Pod, Zeroable};
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[bytemuck(crate = "mp::bytemuck")]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// let point = mp::Value::new(Point { x: 1.0, y: 2.0 })?;
/// point.lock()?.x += 1.0;
/// assert_eq!(point.get()?.x, 2.0);
/// # Ok::<(), mp::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// mp::Value::new(String::from("a pointer"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in shared memory",
    note = "shared values are plain data without pointers: numbers, arrays of them, and structs with `#[derive(Clone, Copy, Pod, \
            Zeroable)]` of `mp::bytemuck`, `#[bytemuck(crate = \"mp::bytemuck\")]` and `#[repr(C)]`",
    note = "anything else can be sent through a queue instead"
)]
pub trait Shareable: bytemuck::Pod {}

// So that the compiler says the message above, and does not ask for `Pod`.
#[diagnostic::do_not_recommend]
impl<T: bytemuck::Pod> Shareable for T {}

/// The size of an object whose body is a `B` that `length` items follow.
fn size_with_items<B, T>(length: usize) -> Result<usize> {
    length
        .checked_mul(size_of::<T>())
        .and_then(|bytes| bytes.checked_add(size_of::<B>()))
        .filter(|bytes| *bytes <= isize::MAX as usize)
        .ok_or(Error::OutOfMemory {
            wanted: u64::MAX,
            used: 0,
            capacity: isize::MAX as u64,
        })
}
