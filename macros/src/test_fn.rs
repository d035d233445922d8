//! `#[test]`: a test whose process can have children.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Path, Result, Signature};

use crate::errors::Errors;
use crate::function::Function;
use crate::{entry, options};

pub fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    generate(options, item.clone()).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        quote!(#error #[allow(dead_code)] #item)
    })
}

fn generate(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let Options { library: mp } = syn::parse2(options)?;
    let function = Function::parse("mp::test", item)?;
    refuse(&function)?;
    let name = function.sig.ident.unraw().to_string();
    let first = quote! {
        #mp::__private::test(::core::concat!(::core::module_path!(), "::", #name));
    };
    let test = entry::run_first(&first, &function);
    let is_async = function.sig.asyncness.is_some();
    Ok(match (is_async, has_test_attribute(&function)) {
        // The attribute below makes the function a test.
        (false, true) => test,
        (false, false) => quote!(#[::core::prelude::v1::test] #test),
        // `#[tokio::test]` makes a test of the inner function, too, where the harness does not find it.
        (true, _) => {
            quote!(#[::core::prelude::v1::test] #[allow(unnameable_test_items)] #test)
        }
    })
}

struct Options {
    library: Path,
}

impl Parse for Options {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut library = options::default_library();
        options::parse(input, &["crate"], |_, value| {
            library = options::library(value)?;
            Ok(())
        })?;
        Ok(Self { library })
    }
}

fn refuse(function: &Function) -> Result<()> {
    let Signature {
        inputs,
        generics,
        asyncness,
        ..
    } = &function.sig;
    let mut errors = Errors::default();
    if !inputs.is_empty() {
        errors.push(inputs, "a test has no arguments");
    }
    if !generics.params.is_empty() {
        errors.push(generics, "a test cannot be generic");
    }
    if asyncness.is_some() && !entry::has_runtime(function) {
        errors.push(
            asyncness,
            "an `async` test needs a runtime: add `#[tokio::test]` below `#[mp::test]`",
        );
    }
    errors.finish()
}

/// Whether an attribute such as `#[test]` or `#[test_log::test]` remains below ours.
fn has_test_attribute(function: &Function) -> bool {
    function.attrs.iter().any(|attr| {
        let last = attr.path().segments.last();
        last.is_some_and(|last| last.ident == "test")
    })
}
