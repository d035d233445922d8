//! What the programs in `tests/ui` cannot show: the rest is there, with the messages as rustc prints them.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{FnArg, Signature, parse_quote};

use super::{added, types};

fn messages(options: TokenStream, item: TokenStream) -> Vec<String> {
    match added(options, item) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

fn addition(item: TokenStream) -> String {
    added(quote!(), item).unwrap().to_string()
}

fn with_one_lifetime(sig: &Signature) -> Vec<String> {
    let types = sig.inputs.iter().map(|input| match input {
        FnArg::Typed(argument) => types::with_one_lifetime(&argument.ty, &sig.generics),
        FnArg::Receiver(_) => unreachable!("there are no methods here"),
    });
    types.map(|ty| ty.to_token_stream().to_string()).collect()
}

#[test]
fn variadic_function_is_refused() {
    let messages = messages(
        quote!(),
        quote!(
            extern "C" fn f(n: i32, ...) {}
        ),
    );
    assert!(
        messages[1].contains("a fixed number of arguments"),
        "{messages:?}"
    );
}

#[test]
fn every_mistake_is_reported_at_once() {
    let item = quote!(
        async unsafe fn f<T, const N: usize>(a: &mut T, b: impl Copy) -> &T {}
    );
    assert_eq!(messages(quote!(), item).len(), 7);
}

#[test]
fn types_of_functions_may_borrow() {
    let item = quote!(
        fn f(a: PhantomData<fn(&mut u8) -> &u8>) -> PhantomData<fn(&u8) -> &u8> {}
    );
    assert_eq!(messages(quote!(), item), Vec::<String>::new());
}

#[test]
fn statements_are_not_parsed() {
    assert_eq!(
        messages(quote!(), quote!(fn f() { let x = . })),
        Vec::<String>::new()
    );
}

#[test]
fn trailing_comma_after_options_is_accepted() {
    assert_eq!(
        messages(
            quote!(name = "f", crate = crate,),
            quote!(
                fn f() {}
            )
        ),
        Vec::<String>::new()
    );
}

#[test]
fn lifetimes_of_a_call_become_one() {
    let sig = parse_quote!(
        fn f<'x, 'y>(a: &str, b: &'x [&'y u8], c: Cow<'_, str>, d: Cow<'static, str>)
    );
    let expected = [
        quote!(&'mp str),
        quote!(&'mp [&'mp u8]),
        quote!(Cow<'mp, str>),
        quote!(Cow<'static, str>),
    ];
    assert_eq!(with_one_lifetime(&sig), expected.map(|ty| ty.to_string()));
}

#[test]
fn lifetimes_of_function_types_stay() {
    let ty = quote!(PhantomData<fn(&str, Box<dyn Fn(&u8)>) -> &str>);
    assert_eq!(
        with_one_lifetime(&parse_quote!(fn f(a: #ty))),
        [ty.to_string()]
    );
}

#[test]
fn raw_identifier_loses_its_prefix_in_names() {
    let added = addition(quote!(
        fn r#type(r#match: u8) {}
    ));
    assert!(added.contains(r#""::" , "type""#), "{added}");
    assert!(added.contains(r#"("match")"#), "{added}");
}

#[test]
fn cfg_decides_about_all_that_is_added() {
    let added = addition(quote!(
        #[cfg(debug_assertions)]
        #[inline]
        fn f() {}
    ));
    assert_eq!(
        added.matches("# [cfg (debug_assertions)]").count(),
        2,
        "{added}"
    );
    assert!(!added.contains("inline"), "{added}");
}
