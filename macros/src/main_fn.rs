//! `#[main]`: a `main` in which the program becomes the root of a process tree, or takes its place in one.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{LitStr, Path, Result, Signature};

use crate::errors::Errors;
use crate::function::Function;
use crate::{entry, options};

pub fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let function = match Function::parse("mp::main", item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#item #error);
        }
    };
    generate(options, &function).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        // The errors tell what is wrong; rustc need not add that there is no `main`, or that it has arguments.
        if function.sig.ident == "main" {
            quote!(#error fn main() {})
        } else {
            quote!(#error #item)
        }
    })
}

fn generate(options: TokenStream, function: &Function) -> Result<TokenStream> {
    let Options {
        start_method,
        library: mp,
    } = syn::parse2(options)?;
    refuse(function)?;
    let start_method = match start_method {
        Some(method) => quote!(::core::option::Option::Some(#method)),
        None => quote!(::core::option::Option::None),
    };
    let first = quote!(#mp::__private::main(#start_method););
    Ok(entry::run_first(&first, function))
}

struct Options {
    start_method: Option<LitStr>,
    library: Path,
}

impl Parse for Options {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut options = Self {
            start_method: None,
            library: options::default_library(),
        };
        options::parse(input, &["start_method", "crate"], |key, value| {
            match key {
                "start_method" => {
                    let methods = &["spawn", "fork", "forkserver"];
                    options.start_method = Some(options::one_of(value, "start method", methods)?);
                }
                _ => options.library = options::library(value)?,
            }
            Ok(())
        })?;
        Ok(options)
    }
}

fn refuse(function: &Function) -> Result<()> {
    let Signature {
        ident,
        inputs,
        generics,
        asyncness,
        ..
    } = &function.sig;
    let mut errors = Errors::default();
    if ident != "main" {
        errors.push(
            ident,
            "`#[mp::main]` goes on `fn main`, with which the program starts",
        );
    }
    if !inputs.is_empty() {
        errors.push(
            inputs,
            "`main` has no arguments; those of the program are in `std::env::args()`",
        );
    }
    if !generics.params.is_empty() {
        errors.push(generics, "`main` cannot be generic");
    }
    if asyncness.is_some() && !entry::has_runtime(function) {
        errors.push(
            asyncness,
            "an `async fn main` needs a runtime: add `#[tokio::main]` below `#[mp::main]`",
        );
    }
    errors.finish()
}
