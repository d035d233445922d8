//! Walks through the types of a signature.

use syn::visit_mut::{self, VisitMut};
use syn::{Generics, Lifetime, ParenthesizedGenericArguments, Type, TypeBareFn, TypeReference};

/// The type of an argument with one lifetime for every lifetime that the call decides: the elided ones and the parameters
/// of the function.
///
/// One is enough. All arguments are borrowed from the same message, and those of the caller shrink to the shortest.
pub fn with_one_lifetime(ty: &Type, parameters: &Generics) -> Type {
    let mut ty = ty.clone();
    OneLifetime(parameters).visit_type_mut(&mut ty);
    ty
}

struct OneLifetime<'a>(&'a Generics);

impl VisitMut for OneLifetime<'_> {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        reference
            .lifetime
            .get_or_insert_with(|| Lifetime::new("'mp", reference.and_token.span));
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        let is_parameter = self.0.lifetimes().any(|known| known.lifetime == *lifetime);
        if is_parameter || lifetime.ident == "_" {
            *lifetime = Lifetime::new("'mp", lifetime.span());
        }
    }

    // Elided lifetimes in `fn(&str)` and `Fn(&str)` are those of a call of that function.
    fn visit_type_bare_fn_mut(&mut self, _: &mut TypeBareFn) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {
    }
}
