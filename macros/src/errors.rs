//! Errors that are reported together.

use quote::ToTokens;
use syn::{Error, Result};

/// Collects errors, so that one compilation shows all that is wrong with a function.
#[derive(Default)]
pub struct Errors(Option<Error>);

impl Errors {
    /// Adds an error that points at the tokens of `at`.
    pub fn push(&mut self, at: impl ToTokens, message: impl std::fmt::Display) {
        let error = Error::new_spanned(at, message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
