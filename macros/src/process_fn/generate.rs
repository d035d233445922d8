//! What `#[process_fn]` adds to the function. All logic is in the library; this only says which function and which types.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, Ident, Pat, PatType, ReturnType, Signature, Type, TypeReference};

use super::{Options, types};
use crate::function::Function;

pub fn generate(options: &Options, function: &Function) -> TokenStream {
    let Function {
        attrs, vis, sig, ..
    } = function;
    let mp = &options.library;
    let private = quote!(#mp::__private);
    let name = &sig.ident;
    // `#[cfg]` below this attribute is still undecided and has to decide about all that is added.
    let cfg: Vec<_> = attrs.iter().filter(|a| a.path().is_ident("cfg")).collect();
    let doc =
        format!("Names the process function [`{name}`](fn@{name}), as in `mp::spawn!({name})`.");

    let arguments = arguments(sig);
    let binding: Vec<_> = arguments.iter().map(|argument| &argument.binding).collect();
    let label: Vec<_> = arguments.iter().map(|argument| &argument.label).collect();
    let ty: Vec<_> = arguments.iter().map(|argument| &argument.ty).collect();
    let bindings = bare_or_tuple(&binding);
    let types = bare_or_tuple(&ty);
    let decoded = bare_or_tuple(&arguments.iter().map(decoded).collect::<Vec<_>>());
    let registered = registered_name(options, name);
    let output = output(sig);
    let call = call(options, name, &binding);
    // `spawn!` calls it with the arguments of its caller: rustc shows the function where their number or types are wrong.
    let typed = Ident::new("__args", name.span().resolved_at(Span::mixed_site()));
    let line = quote_spanned!(name.span()=> ::core::line!());

    quote! {
        #(#cfg)*
        #[doc = #doc]
        #[allow(non_camel_case_types)]
        #vis enum #name {}

        #(#cfg)*
        #[allow(dead_code, deprecated, unused_variables, clippy::all)]
        const _: () = {
            impl #mp::ProcessFn for #name {
                type Args<'mp> = #types;
                type Output = #output;
                const NAME: &'static str = #registered;
                fn encode<'mp>(
                    #bindings: &Self::Args<'mp>,
                    to: &mut #private::Encoder<'_>,
                ) -> ::core::result::Result<(), #private::ArgumentError> {
                    #(to.argument::<#ty>(#label, #binding)?;)*
                    ::core::result::Result::Ok(())
                }
                fn decode<'mp>(
                    from: &mut #private::Decoder<'mp>,
                ) -> ::core::result::Result<Self::Args<'mp>, #private::ArgumentError> {
                    ::core::result::Result::Ok(#decoded)
                }
                fn call(#bindings: Self::Args<'_>) -> Self::Output {
                    #call
                }
            }
            impl #name {
                #[doc(hidden)]
                pub fn #typed<'mp>(#(#binding: #ty),*) -> <Self as #mp::ProcessFn>::Args<'mp> {
                    #bindings
                }
            }
            #private::inventory::submit! {
                #private::Function::new::<#name>(::core::file!(), #line)
            }
        };
    }
}

struct Argument {
    /// A name of our own, because the pattern of the function may be `_`, `(a, b)` or `mut x`.
    binding: Ident,
    /// What messages call the argument.
    label: String,
    ty: Type,
}

fn arguments(sig: &Signature) -> Vec<Argument> {
    let typed = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    });
    let argument = |(index, PatType { pat, ty, .. }): (usize, &PatType)| Argument {
        // Spanned like the pattern, so that rustc shows it where an argument of `spawn!` is missing or wrong.
        binding: format_ident!(
            "argument{index}",
            span = pat.span().resolved_at(Span::mixed_site())
        ),
        label: match &**pat {
            Pat::Ident(pat) => pat.ident.unraw().to_string(),
            _ => format!("argument {}", index + 1),
        },
        ty: types::with_one_lifetime(ty, &sig.generics),
    };
    typed.enumerate().map(argument).collect()
}

/// Reads one argument. A reference has its own way, because the message for a type that serde cannot borrow has to say so.
fn decoded(argument: &Argument) -> TokenStream {
    let Argument { label, ty, .. } = argument;
    match ty {
        Type::Reference(TypeReference { elem, .. }) => quote!(from.borrowed::<#elem>(#label)?),
        _ => quote!(from.argument::<#ty>(#label)?),
    }
}

/// `()`, `a` or `(a, b)`: how the arguments are written as one type, value or pattern.
fn bare_or_tuple(elements: &[impl ToTokens]) -> TokenStream {
    match elements {
        [only] => only.to_token_stream(),
        _ => quote!((#(#elements),*)),
    }
}

fn registered_name(options: &Options, name: &Ident) -> TokenStream {
    match &options.name {
        Some(given) => given.to_token_stream(),
        None => {
            let name = name.unraw().to_string();
            quote!(::core::concat!(::core::module_path!(), "::", #name))
        }
    }
}

/// The type that comes back: none for `!`, and that type itself could not be named on stable Rust.
fn output(sig: &Signature) -> TokenStream {
    match &sig.output {
        ReturnType::Type(_, ty) if !matches!(**ty, Type::Never(_)) => ty.to_token_stream(),
        _ => quote!(()),
    }
}

fn call(options: &Options, name: &Ident, arguments: &[&Ident]) -> TokenStream {
    let mp = &options.library;
    let call = quote!(#name(#(#arguments),*));
    match &options.runtime {
        // Where the feature is missing, the error is on the option that needs it.
        Some(runtime) => {
            let block_on = format_ident!("block_on_{}", runtime.value(), span = runtime.span());
            quote!(#mp::__private::#block_on(#call))
        }
        None => call,
    }
}
