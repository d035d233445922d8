//! Procedural macros of the `multiproc` crate. Use them through `mp`, which re-exports all of them.
//!
//! Each attribute has a file that parses it, refuses what it cannot do, and only then expands. What is expanded is little:
//! it names functions and types to `mp::__private`, where the logic is.

mod entry;
mod errors;
mod function;
mod main_fn;
mod options;
mod process_fn;
mod test_fn;

use proc_macro::TokenStream;

/// Makes a function one that a child process can run.
///
/// The function stays as it is written and can be called as before. Next to it appears a type of the same name, which
/// implements `mp::ProcessFn` and names the function wherever a process is asked to run it. One `use` brings in both.
///
/// Arguments are anything that serde serializes and deserializes, `&str`, `&[u8]` and `&Path` included, which are borrowed
/// from the message that brings them. The output is anything that serde serializes and deserializes without borrowing.
/// A function that may fail returns a `Result`; where its error is not serializable, `mp::RemoteError` takes any error
/// with `?`.
///
/// # Examples
///
/// ```ignore
/// mod tasks {
///     #[mp::process_fn]
///     pub fn count_words(text: &str, min_len: usize) -> usize {
///         text.split_whitespace().filter(|word| word.len() >= min_len).count()
///     }
/// }
///
/// use tasks::count_words;
///
/// #[mp::main]
/// fn main() -> mp::Result<()> {
///     let process = mp::spawn!(count_words, "some text", 5)?;
///     assert_eq!(process.join()?, 0);
///     assert_eq!(count_words("some text", 4), 2);
///     Ok(())
/// }
/// ```
///
/// # Options
///
/// - `name = "stable.name"` registers the function under this name. The default is its path, `module::path::function`.
///   A name has to be unique in the program: functions inside two functions of one module need it where their own names
///   are the same.
/// - `runtime = "tokio"` runs an `async fn`, on a tokio runtime that the child starts for it. Needs the feature `tokio`.
/// - `crate = some::path` says where the library is, if not at `::mp`.
///
/// # Compile errors
///
/// Each of these is refused with a message on its own token:
///
/// - a method: write a function that takes the value as its first argument. A function inside an `impl` cannot be marked,
///   either: rustc says that an enum is not supported there;
/// - type and const parameters, `where` clauses and `impl Trait`: the child finds the function by its one name, so there
///   has to be exactly one;
/// - `unsafe`, `extern` and variadic functions, and `async` without `runtime`;
/// - `&mut` and `&'static` arguments, references to what serde cannot borrow, and arguments under `#[cfg]`;
/// - references and other borrowed values as output, and `dyn Error`.
///
/// rustc reports the following:
///
/// - an argument or an output without `Serialize` or `Deserialize`, at its type;
/// - a lifetime that is not written: `Cow<'_, str>` works, `Cow<str>` does not;
/// - a type that is more private than the function, because it appears in the implementation of a public trait;
/// - `expected type, found function` where a function is used that is not marked.
#[proc_macro_attribute]
pub fn process_fn(options: TokenStream, item: TokenStream) -> TokenStream {
    process_fn::expand(options.into(), item.into()).into()
}

/// Makes `main` the place where a process tree begins.
///
/// A child process is the same program, started again. In the program itself `main` runs as it is written; in a child the
/// process function that it was started for runs in place of the body of `main`, and the child ends after it. Programs
/// that cannot use the attribute call `mp::init()` as the first statement of `main`.
///
/// `main` may have any return type that it may have without the attribute. An `async fn main` works together with an
/// attribute that starts a runtime, such as `#[tokio::main]`, below this one. The process function of a child runs outside
/// of that runtime, which is never started there.
///
/// # Examples
///
/// ```ignore
/// #[mp::main(start_method = "spawn")]
/// #[tokio::main]
/// async fn main() -> mp::Result<()> {
///     println!("{}", mp::spawn!(square, 7)?.join()?);
///     Ok(())
/// }
/// ```
///
/// # Options
///
/// - `start_method = "…"` sets how children start: `"spawn"`, `"fork"` or `"forkserver"`.
/// - `crate = some::path` says where the library is, if not at `::mp`.
///
/// # Compile errors
///
/// A function that is not named `main`, has arguments or is generic, and an `async fn main` with no attribute below that
/// starts a runtime.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    main_fn::expand(options.into(), item.into()).into()
}

/// Makes a function a test that can start processes.
///
/// It is `#[test]` for such functions. A child of a test is the test binary, started again on this one test, where the
/// process function runs in place of the body. It works under `cargo test` and nextest, with other tests running at the
/// same time.
///
/// `#[should_panic]`, `#[ignore]` and return types work as they do with `#[test]`; put them below this attribute. Put an
/// attribute that makes a test of an `async fn`, such as `#[tokio::test]`, below it, too.
///
/// # Examples
///
/// ```ignore
/// #[mp::test]
/// fn squares() -> mp::Result<()> {
///     assert_eq!(mp::spawn!(square, 7)?.join()?, 49);
///     Ok(())
/// }
///
/// #[mp::test]
/// #[tokio::test]
/// async fn squares_later() -> mp::Result<()> {
///     assert_eq!(mp::spawn!(square, 7)?.join()?, 49);
///     Ok(())
/// }
/// ```
///
/// # Options
///
/// - `crate = some::path` says where the library is, if not at `::mp`.
///
/// # Compile errors
///
/// A function that has arguments or is generic, and an `async fn` with no attribute below that starts a runtime.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    test_fn::expand(options.into(), item.into()).into()
}
