//! Values in shared memory.
//!
//! # Safety
//!
//! Shared data is plain ([`Shareable`]) and is touched only by the thread that owns its lock; references to it borrow
//! the guard. Blocks cite the arena's invariants (A1–A6).

#![allow(unsafe_code)]

mod array;
mod value;

pub use array::{Array, ArrayGuard};
pub use value::{Value, ValueGuard};

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
    note = "shared values are plain data without pointers: derive `bytemuck::Pod`, or send the value through a queue instead"
)]
pub trait Shareable: bytemuck::Pod {}

impl<T: bytemuck::Pod> Shareable for T {}
