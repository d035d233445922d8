//! Signatures that are accepted.

#![deny(warnings, missing_docs, unreachable_pub, elided_lifetimes_in_paths)]

use std::borrow::Cow;
use std::marker::PhantomData;

use tasks::count_words;

mod tasks {
    /// Brought in by one `use`: the function and the type that names it.
    #[mp::process_fn]
    pub(super) fn count_words(text: &str, min_len: usize) -> usize {
        text.split(' ').filter(|word| word.len() >= min_len).count()
    }
}

#[mp::process_fn]
fn nothing() {}

#[mp::process_fn(name = "stable.name", crate = ::mp)]
const fn constant(n: u64) -> u64 {
    n
}

#[mp::process_fn]
fn patterns((a, b): (u8, u8), _: u8, mut rest: Vec<u8>, #[allow(unused)] unused: u8) -> Vec<u8> {
    rest.push(a + b);
    rest
}

#[mp::process_fn]
fn lifetimes<'a: 'b, 'b>(
    a: &'a str,
    b: &'b [u8],
    c: Cow<'_, str>,
    d: PhantomData<fn(&mut u8) -> &u8>,
) -> usize {
    let _ = d;
    a.len() + b.len() + c.len()
}

#[mp::process_fn]
fn fallible(n: u64) -> Result<u64, String> {
    n.checked_add(1).ok_or_else(|| "too large".to_owned())
}

#[mp::process_fn]
fn r#type(r#match: Option<&str>) -> Cow<'static, str> {
    r#match.unwrap_or_default().to_owned().into()
}

#[mp::process_fn]
fn endless(n: u64) -> ! {
    panic!("{n}")
}

#[mp::process_fn]
#[cfg(any())]
fn absent(missing: Missing) -> Missing {
    missing
}

#[deprecated]
#[mp::process_fn]
fn old() {}

macro_rules! task {
    ($name:ident, $ty:ty, $body:block) => {
        #[mp::process_fn]
        fn $name(_: $ty) -> $ty $body
    };
}
task!(from_a_macro, u32, { 7 });

fn name<F: mp::ProcessFn>() -> &'static str {
    F::NAME
}

fn main() {
    #[mp::process_fn]
    fn local(n: u64) -> u64 {
        n
    }

    assert_eq!(count_words("a bc", 2), 1);
    assert_eq!(local(1), 1);
    assert_eq!(name::<constant>(), "stable.name");
    assert_eq!(name::<r#type>(), concat!(module_path!(), "::type"));
    assert_eq!(
        name::<tasks::count_words>(),
        concat!(module_path!(), "::tasks::count_words")
    );
}
