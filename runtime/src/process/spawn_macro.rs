//! `spawn!`.

/// Starts a process with the defaults: `spawn!(f, a, b)` runs `f(a, b)` in a new process.
///
/// `f` is the path of a function marked with [`#[process_fn]`](macro@crate::process_fn). The arguments are checked as
/// those of a call are: a wrong number or type of them does not compile. It gives a [`Result`](crate::Result) of a
/// [`Process`](crate::Process); [`Builder`](crate::Builder) starts one with other than the defaults.
///
/// # Examples
///
/// ```
/// #[mp::process_fn]
/// fn repeat(word: &str, times: usize) -> String {
///     word.repeat(times)
/// }
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let word = String::from("hip ");
///     assert_eq!(mp::spawn!(repeat, &word, 2)?.join()?, "hip hip ");
///     Ok(())
/// }
/// ```
///
/// A closure cannot run in another process; what it would capture goes as arguments:
///
/// ```compile_fail
/// let n = 42;
/// mp::spawn!(move || n + 1);
/// ```
///
/// # Errors
///
/// Those of [`Builder::spawn`](crate::Builder::spawn).
#[macro_export]
macro_rules! spawn {
    ($($function:ident)::+ ($($argument:tt)*) $($rest:tt)*) => { $crate::__spawn_usage!() };
    (move $($closure:tt)*) => { $crate::__spawn_usage!() };
    // The parentheses around the type keep rustc from taking a function that is not marked for a constant, with an error
    // about constants after the one that matters.
    ($function:path $(, $argument:expr)* $(,)?) => {
        $crate::Builder::new().spawn::<($function)>(<$function>::__args($($argument),*))
    };
    ($($anything:tt)*) => { $crate::__spawn_usage!() };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __spawn_usage {
    () => {
        ::core::compile_error!(
            "`spawn!` takes a process function and then its arguments: `spawn!(f, a, b)`; a closure cannot run in another process"
        )
    };
}
