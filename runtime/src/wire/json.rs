//! The way out for types that the wire format cannot carry.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde::ser::{self, Serialize, Serializer};

/// Carries a value as JSON text inside of the message.
///
/// Values normally travel in a compact format that does not describe itself. Types that ask the data for its shape
/// need one that does: those with `#[serde(untagged)]`, `#[serde(tag = …)]`, `#[serde(flatten)]` or
/// `#[serde(skip_serializing_if)]`, and `serde_json::Value`. The error that they meet names this wrapper. It derefs to
/// the value, and takes effect only around what it wraps.
///
/// JSON has its own limits: keys of maps must be strings or numbers, `NaN` and infinite floats become `null`, and byte
/// strings become long.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(tag = "type")]
/// enum Event {
///     Key { code: u32 },
///     Closed,
/// }
///
/// // In a process function: `fn handle(event: mp::Json<Event>)`.
/// let events = mp::Queue::new()?;
/// events.put(mp::Json(Event::Key { code: 13 }))?;
/// let event = events.get()?;
/// assert!(matches!(*event, Event::Key { code: 13 }));
///
/// // Without it, the error says what to do.
/// let events = mp::Queue::new()?;
/// events.put(Event::Closed)?;
/// assert!(events.get().unwrap_err().to_string().contains("wrap the value in `mp::Json<T>`"));
/// # Ok::<(), mp::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Json<T>(pub T);

impl<T> Json<T> {
    /// Returns the value.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(mp::Json("tea").into_inner(), "tea");
    /// ```
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Json(value)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(|error| {
            ser::Error::custom(format_args!(
                "the value of an `mp::Json` is not JSON: {error}"
            ))
        })?;
        serializer.serialize_str(&text)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(PhantomData)).map(Json)
    }
}

/// Reads a `T` from the JSON text it is given, whether borrowed or not.
struct Text<T>(PhantomData<T>);

impl<T: DeserializeOwned> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of JSON")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        serde_json::from_str(text).map_err(|error| {
            E::custom(format_args!(
                "the JSON of an `mp::Json` is not a `{}`: {error}",
                type_name::<T>()
            ))
        })
    }
}

#[cfg(test)]
mod tests;
