//! What cannot be a process function, each with its own message on its own token, all in one go.

use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, FnArg, GenericParam, Generics, Lifetime, Result, ReturnType, Signature, TypeBareFn,
    TypeImplTrait, TypeParamBound, TypeReference, TypeTraitObject,
};

use super::Options;
use crate::errors::Errors;

pub fn check(options: &Options, sig: &Signature) -> Result<()> {
    let mut errors = Errors::default();
    qualifiers(options, sig, &mut errors);
    generics(&sig.generics, &mut errors);
    for input in &sig.inputs {
        argument(input, &mut errors);
    }
    if let Some(variadic) = &sig.variadic {
        errors.push(
            variadic,
            "a process function has a fixed number of arguments; take a `Vec`",
        );
    }
    if let ReturnType::Type(_, ty) = &sig.output {
        OutputType(&mut errors).visit_type_mut(&mut ty.clone());
    }
    errors.finish()
}

fn qualifiers(options: &Options, sig: &Signature, errors: &mut Errors) {
    if let Some(token) = &sig.unsafety {
        errors.push(
            token,
            "a process function cannot be `unsafe`: nobody could vouch for the call in the child; \
             call the unsafe function from a safe one",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.push(
            abi,
            "a process function cannot be `extern`; call the extern function from a Rust function",
        );
    }
    match (&sig.asyncness, &options.runtime) {
        (Some(token), None) => errors.push(
            token,
            "an `async` process function needs a runtime: `#[mp::process_fn(runtime = \"tokio\")]`",
        ),
        (None, Some(runtime)) => errors.push(
            runtime,
            "only an `async fn` needs a runtime; leave out `runtime`",
        ),
        _ => {}
    }
}

fn generics(generics: &Generics, errors: &mut Errors) {
    for parameter in &generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            errors.push(
                parameter,
                "a process function cannot be generic: the child finds it by its one name; \
                 write a function for each type that you need, which calls the generic one",
            );
        }
    }
    if let Some(clause) = &generics.where_clause {
        errors.push(
            clause,
            "a process function cannot have a `where` clause: it has no type parameters to constrain",
        );
    }
}

fn argument(argument: &FnArg, errors: &mut Errors) {
    match argument {
        FnArg::Receiver(receiver) => errors.push(
            receiver,
            "a method cannot be a process function; \
             write a function outside the `impl` that takes the value as its first argument",
        ),
        FnArg::Typed(argument) => {
            for attr in argument.attrs.iter().filter(|attr| is_conditional(attr)) {
                errors.push(
                    attr,
                    "an argument of a process function cannot be conditional; \
                     write two functions and put `#[cfg]` on them",
                );
            }
            ArgumentType(errors).visit_type_mut(&mut argument.ty.clone());
        }
    }
}

/// `#[cfg]` reaches this macro undecided, so the number of arguments is unknown.
fn is_conditional(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg")
}

// Neither walk changes anything. They are mutable because `types` needs such a walk anyway: syn's other one is a feature
// that takes as long to compile again.

struct ArgumentType<'a>(&'a mut Errors);

impl VisitMut for ArgumentType<'_> {
    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        self.0.push(
            ty,
            "an argument of a process function cannot be `impl Trait`: the child has to know its type; name the type",
        );
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        if let Some(mutability) = &reference.mutability {
            self.0.push(
                mutability,
                "an argument of a process function cannot be `&mut`: what the child changes would not come back; \
                 take the value and return it, or share an `mp::Value` or an `mp::Array`",
            );
        } else if let Some(lifetime) = &reference.lifetime
            && lifetime.ident == "static"
        {
            self.0.push(
                lifetime,
                "an argument of a process function cannot be borrowed for `'static`: \
                 it lives in the message that brought it; leave out the lifetime, or take an owned value",
            );
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_type_bare_fn_mut(&mut self, _: &mut TypeBareFn) {}
}

struct OutputType<'a>(&'a mut Errors);

impl VisitMut for OutputType<'_> {
    fn visit_type_impl_trait_mut(&mut self, ty: &mut TypeImplTrait) {
        self.0.push(
            ty,
            "a process function cannot return `impl Trait`: the parent has to know its type; name the type",
        );
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        self.0.push(
            reference,
            "a process function cannot return a reference: what it borrows from stays in the child; \
             return an owned value, such as `String` for `&str`",
        );
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" {
            self.0.push(
                lifetime,
                "a process function cannot return a borrowed value: what it borrows from stays in the child; \
                 return an owned value",
            );
        }
    }

    fn visit_type_trait_object_mut(&mut self, object: &mut TypeTraitObject) {
        if is_error(object) {
            self.0.push(
                object,
                "`dyn Error` cannot come back from a process; \
                 return `mp::RemoteError`, which `?` makes of any error",
            );
        }
    }

    fn visit_type_bare_fn_mut(&mut self, _: &mut TypeBareFn) {}
}

/// Only `Error` is refused among trait objects: others may well be serializable, by the crate `typetag` for example.
fn is_error(object: &TypeTraitObject) -> bool {
    object.bounds.iter().any(|bound| {
        matches!(bound, TypeParamBound::Trait(bound)
            if bound.path.segments.last().is_some_and(|last| last.ident == "Error"))
    })
}
