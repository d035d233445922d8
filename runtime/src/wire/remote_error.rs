//! Errors of any type, made fit to travel.

use std::any::type_name;
use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::iter;

use serde::{Deserialize, Serialize};

/// An error of another process: what any [`std::error::Error`] turns into with `?`.
///
/// A process function that returns `Result<T, mp::RemoteError>` needs no error type that can be serialized. What
/// travels is text: the error's message, those of its [sources](Error::source), and the name of its type. `Display`
/// prints the message, `{:#}` the whole chain in one line, `Debug` the whole chain in several, because that is what
/// `unwrap` and a failing `main` show.
///
/// Because every error converts into it, it is not an `Error` itself. It converts into a `Box<dyn Error>`, also with
/// `?`, whose `source()` walks the chain.
///
/// # Examples
///
/// ```
/// fn parse(text: &str) -> Result<i32, mp::RemoteError> {
///     Ok(text.parse()?)
/// }
///
/// assert_eq!(parse("12").unwrap(), 12);
///
/// let error = parse("twelve").unwrap_err();
/// assert_eq!(error.message(), "invalid digit found in string");
/// assert_eq!(error.type_name(), "core::num::error::ParseIntError");
/// assert!(error.is::<std::num::ParseIntError>());
/// ```
///
/// Errors that are no types of their own:
///
/// ```
/// fn check(age: i32) -> Result<(), mp::RemoteError> {
///     if age < 0 {
///         return Err(mp::RemoteError::msg(format!("{age} is no age")));
///     }
///     Ok(())
/// }
///
/// assert_eq!(check(-1).unwrap_err().to_string(), "-1 is no age");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteError {
    type_name: String,
    message: String,
    causes: Vec<String>,
}

impl RemoteError {
    /// Makes an error of a message; its type is that of the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = mp::RemoteError::msg("the disk is full");
    /// assert_eq!(error.to_string(), "the disk is full");
    /// assert!(error.is::<&str>());
    /// ```
    pub fn msg<M: Display>(message: M) -> Self {
        RemoteError {
            type_name: type_name::<M>().to_owned(),
            message: message.to_string(),
            causes: Vec::new(),
        }
    }

    /// Makes an error of a borrowed one, such as the contents of a `Box<dyn Error>`, for which `?` does not work.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// fn load() -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     Err("no such model".into())
    /// }
    ///
    /// fn work() -> Result<(), mp::RemoteError> {
    ///     load().map_err(|error| mp::RemoteError::from_dyn(&*error))
    /// }
    ///
    /// assert_eq!(work().unwrap_err().message(), "no such model");
    /// ```
    pub fn from_dyn(error: &(dyn Error + 'static)) -> Self {
        RemoteError::named(type_name::<dyn Error>(), error)
    }

    /// Returns the error's message, without those of its sources.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = mp::RemoteError::from("x".parse::<u8>().unwrap_err());
    /// assert_eq!(error.message(), "invalid digit found in string");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the name of the error's type, as [`std::any::type_name`] gives it.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = mp::RemoteError::from("x".parse::<u8>().unwrap_err());
    /// assert_eq!(error.type_name(), "core::num::error::ParseIntError");
    /// ```
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Returns the messages of the error and of its sources, from the outermost to the root cause.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = mp::RemoteError::msg("the disk is full");
    /// assert!(error.chain().eq(["the disk is full"]));
    /// ```
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        iter::once(&self.message)
            .chain(&self.causes)
            .map(String::as_str)
    }

    /// Tells whether the error was an `E` in its process, by the name of the type.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = mp::RemoteError::from("x".parse::<u8>().unwrap_err());
    /// assert!(error.is::<std::num::ParseIntError>());
    /// assert!(!error.is::<std::num::ParseFloatError>());
    /// ```
    pub fn is<E>(&self) -> bool {
        self.type_name == type_name::<E>()
    }

    /// Converts into an error with a [`source`](Error::source) for each link of the chain.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = mp::RemoteError::msg("the disk is full").into_error();
    /// assert_eq!(error.to_string(), "the disk is full");
    /// assert!(error.source().is_none());
    /// ```
    pub fn into_error(self) -> Box<dyn Error + Send + Sync> {
        let mut source = None;
        for message in self.causes.into_iter().rev() {
            source = Some(Box::new(Link { message, source }));
        }
        Box::new(Link {
            message: self.message,
            source,
        })
    }

    fn named(type_name: &str, error: &dyn Error) -> Self {
        RemoteError {
            type_name: type_name.to_owned(),
            message: error.to_string(),
            causes: iter::successors(error.source(), |&error| error.source())
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl<E: Error> From<E> for RemoteError {
    fn from(error: E) -> Self {
        RemoteError::named(type_name::<E>(), &error)
    }
}

impl From<RemoteError> for Box<dyn Error + Send + Sync> {
    fn from(error: RemoteError) -> Self {
        error.into_error()
    }
}

impl From<RemoteError> for Box<dyn Error> {
    fn from(error: RemoteError) -> Self {
        error.into_error()
    }
}

impl Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, self.chain())
    }
}

impl Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f
                .debug_struct("RemoteError")
                .field("type_name", &self.type_name)
                .field("message", &self.message)
                .field("causes", &self.causes)
                .finish();
        }
        report(f, self.chain())
    }
}

/// One error of a chain that came from another process.
struct Link {
    message: String,
    source: Option<Box<Link>>,
}

impl Link {
    fn chain(&self) -> impl Iterator<Item = &str> {
        iter::successors(Some(self), |link| link.source.as_deref())
            .map(|link| link.message.as_str())
    }
}

impl Error for Link {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|link| link as &(dyn Error + 'static))
    }
}

impl Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(f, self.chain())
    }
}

impl Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report(f, self.chain())
    }
}

/// Prints the first message, or with `{:#}` all of them in one line.
fn display<'a>(
    f: &mut fmt::Formatter<'_>,
    mut chain: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    f.write_str(chain.next().unwrap_or_default())?;
    if f.alternate() {
        for cause in chain {
            write!(f, ": {cause}")?;
        }
    }
    Ok(())
}

/// Prints all messages, one below the other; the lines of a message of several stay together.
fn report<'a>(f: &mut fmt::Formatter<'_>, mut chain: impl Iterator<Item = &'a str>) -> fmt::Result {
    f.write_str(chain.next().unwrap_or_default())?;
    for (number, cause) in chain.enumerate() {
        if number == 0 {
            f.write_str("\n\nCaused by:")?;
        }
        write!(f, "\n{number:>5}: ")?;
        for (line, text) in cause.lines().enumerate() {
            if line > 0 {
                write!(f, "\n{:>7}", "")?;
            }
            f.write_str(text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
