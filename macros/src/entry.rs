//! What `#[main]` and `#[test]` share: running something before the body of a function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Signature};

use crate::function::Function;

/// Writes `function` so that the statement `first` runs before its body, in a function that is not `async`.
///
/// The body of an `async fn` runs in a runtime, which another attribute below ours starts. A child process must not run
/// there: a process function may start a runtime of its own. So the `async fn` moves into a function that runs `first` and
/// then calls it.
pub fn run_first(first: &TokenStream, function: &Function) -> TokenStream {
    let Function {
        attrs,
        vis,
        sig,
        body,
    } = function;
    if sig.asyncness.is_none() {
        let mut tokens = quote!(#(#attrs)* #vis #sig);
        body.to_tokens_after(first, &mut tokens);
        return tokens;
    }
    let (outer, inner): (Vec<_>, Vec<_>) = attrs.iter().partition(|attr| is_passive(attr));
    let name = &sig.ident;
    let outer_sig = Signature {
        asyncness: None,
        ..sig.clone()
    };
    let mut inner_function = quote!(#(#inner)* #sig);
    body.to_tokens_after(&TokenStream::new(), &mut inner_function);
    quote! {
        #(#outer)*
        #vis #outer_sig {
            #inner_function
            #first
            #name()
        }
    }
}

/// Whether an attribute below ours may start a runtime.
pub fn has_runtime(function: &Function) -> bool {
    !function.attrs.iter().all(is_passive)
}

/// Whether the attribute only describes the function it is on. Any other may be a macro that rewrites the function.
fn is_passive(attr: &Attribute) -> bool {
    const PASSIVE: &[&str] = &[
        "allow",
        "cfg",
        "cfg_attr",
        "deny",
        "deprecated",
        "doc",
        "expect",
        "forbid",
        "ignore",
        "must_use",
        "should_panic",
        "warn",
    ];
    const TOOLS: &[&str] = &["clippy", "diagnostic", "rustfmt"];
    let first = &attr.path().segments[0].ident;
    match attr.path().get_ident() {
        Some(name) => PASSIVE.iter().any(|passive| name == passive),
        None => TOOLS.iter().any(|tool| first == tool),
    }
}
