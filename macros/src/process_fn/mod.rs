//! `#[process_fn]`: parse, [`refuse`] what cannot work, [`generate`] the type that names the function.

mod generate;
mod refuse;
mod types;

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, LitStr, Path, Result};

use crate::function::Function;
use crate::options;

pub fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    // The function stays as it was written, token for token, also where it is refused: its callers need no second error.
    let added = added(options, item.clone()).unwrap_or_else(Error::into_compile_error);
    quote!(#item #added)
}

fn added(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = syn::parse2(options)?;
    let function = Function::parse("mp::process_fn", item)?;
    refuse::check(&options, &function.sig)?;
    Ok(generate::generate(&options, &function))
}

struct Options {
    /// The registered name, in place of the path of the function.
    name: Option<LitStr>,
    /// What runs the future of an `async fn`.
    runtime: Option<LitStr>,
    library: Path,
}

impl Parse for Options {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut options = Self {
            name: None,
            runtime: None,
            library: options::default_library(),
        };
        options::parse(input, &["name", "runtime", "crate"], |key, value| {
            match key {
                "name" => options.name = Some(nonempty(value)?),
                "runtime" => options.runtime = Some(options::one_of(value, "runtime", &["tokio"])?),
                _ => options.library = options::library(value)?,
            }
            Ok(())
        })?;
        Ok(options)
    }
}

fn nonempty(input: ParseStream) -> Result<LitStr> {
    let name: LitStr = input.parse()?;
    if name.value().is_empty() {
        return Err(Error::new(
            name.span(),
            "the name is empty; leave out `name` for the path of the function",
        ));
    }
    Ok(name)
}
