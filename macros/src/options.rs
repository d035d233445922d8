//! The options of an attribute: `key = value`, separated by commas.

use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, Ident, LitStr, Path, Result, Token, parse_quote};

/// Reads the options of an attribute that takes those in `valid`, and gives each one's key and the input at its value to
/// `set`.
pub fn parse(
    input: ParseStream,
    valid: &[&str],
    mut set: impl FnMut(&str, ParseStream) -> Result<()>,
) -> Result<()> {
    let mut seen = Vec::new();
    while !input.is_empty() {
        // Any identifier, because `crate` is a keyword.
        let key = input.call(Ident::parse_any)?;
        let name = key.to_string();
        if !valid.contains(&name.as_str()) {
            return Err(Error::new(key.span(), unknown("option", &name, valid)));
        }
        if seen.contains(&name) {
            return Err(Error::new(key.span(), format!("duplicate option `{name}`")));
        }
        if !input.peek(Token![=]) {
            return Err(Error::new(
                key.span(),
                format!("option `{name}` needs a value: `{name} = …`"),
            ));
        }
        input.parse::<Token![=]>()?;
        set(&name, input)?;
        seen.push(name);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

/// Reads a string that has to be one of `valid`; `what` says what it names.
pub fn one_of(input: ParseStream, what: &str, valid: &[&str]) -> Result<LitStr> {
    let literal: LitStr = input.parse()?;
    if valid.contains(&literal.value().as_str()) {
        Ok(literal)
    } else {
        Err(Error::new(
            literal.span(),
            unknown(what, &literal.value(), valid),
        ))
    }
}

/// Reads the value of `crate`: the path at which the expansion finds the library.
pub fn library(input: ParseStream) -> Result<Path> {
    input.call(Path::parse_mod_style)
}

/// The path at which the expansion finds the library, unless `crate` says otherwise.
pub fn default_library() -> Path {
    parse_quote!(::mp)
}

fn unknown(what: &str, found: &str, valid: &[&str]) -> String {
    let valid: Vec<_> = valid.iter().map(|name| format!("`{name}`")).collect();
    format!("unknown {what} `{found}`; valid: {}", valid.join(", "))
}
