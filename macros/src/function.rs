//! The function an attribute sits on.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::token::Brace;
use syn::{Abi, Attribute, Result, Signature, Token, Visibility, braced};

/// A function whose signature is parsed and whose statements are not.
///
/// Nothing here looks into the statements. Leaving them as tokens keeps the expansion fast, and keeps completion in an
/// editor alive while a statement is half written.
pub struct Function {
    /// The attributes that have not been expanded yet, in their order.
    pub attrs: Vec<Attribute>,
    pub vis: Visibility,
    pub sig: Signature,
    pub body: Body,
}

pub struct Body {
    pub brace: Brace,
    /// `#![…]` at the beginning.
    pub attrs: Vec<Attribute>,
    pub statements: TokenStream,
}

impl Function {
    /// Parses the item under `attribute`, the name that errors mention.
    pub fn parse(attribute: &str, item: TokenStream) -> Result<Self> {
        let parser = |input: ParseStream| {
            let attrs = input.call(Attribute::parse_outer)?;
            let vis = input.parse()?;
            if !function_follows(input) {
                return Err(input.error(format!(
                    "`#[{attribute}]` goes on a function: `fn name(…) {{ … }}`"
                )));
            }
            let sig = input.parse()?;
            if input.peek(Token![;]) {
                return Err(input.error(format!(
                    "`#[{attribute}]` goes on a function that has a body: `fn name(…) {{ … }}`"
                )));
            }
            let body = Body::parse(input)?;
            Ok(Self {
                attrs,
                vis,
                sig,
                body,
            })
        };
        parser.parse2(item)
    }
}

impl Body {
    fn parse(input: ParseStream) -> Result<Self> {
        let content;
        Ok(Self {
            brace: braced!(content in input),
            attrs: content.call(Attribute::parse_inner)?,
            statements: content.parse()?,
        })
    }

    /// Writes the body with `first` before its statements.
    pub fn to_tokens_after(&self, first: &TokenStream, tokens: &mut TokenStream) {
        self.brace.surround(tokens, |tokens| {
            tokens.extend(self.attrs.iter().map(ToTokens::to_token_stream));
            first.to_tokens(tokens);
            self.statements.to_tokens(tokens);
        });
    }
}

/// Whether a function comes next: `const`, `unsafe` and `extern` begin other items, too.
fn function_follows(input: ParseStream) -> bool {
    let ahead = input.fork();
    ahead.parse::<Option<Token![const]>>().is_ok()
        && ahead.parse::<Option<Token![async]>>().is_ok()
        && ahead.parse::<Option<Token![unsafe]>>().is_ok()
        && ahead.parse::<Option<Abi>>().is_ok()
        && ahead.peek(Token![fn])
}
