use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::iter;

use super::RemoteError;
use crate::wire::codec::{decode, encode};

/// An error with a chain of sources.
#[derive(Debug)]
struct Layer(&'static str, Option<Box<Layer>>);

impl Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1
            .as_deref()
            .map(|error| error as &(dyn Error + 'static))
    }
}

fn layers() -> RemoteError {
    let root = Layer("no route\nto host", None);
    let middle = Layer("connecting failed", Some(Box::new(root)));
    Layer("loading failed", Some(Box::new(middle))).into()
}

#[test]
fn question_mark_keeps_message_type_and_sources() {
    fn fails() -> Result<(), RemoteError> {
        Err(io::Error::other(Layer("inner", None)))?
    }
    let error = fails().unwrap_err();
    assert_eq!(error.message(), "inner");
    assert!(error.is::<io::Error>());
    assert!(!error.is::<fmt::Error>());

    assert!(
        layers()
            .chain()
            .eq(["loading failed", "connecting failed", "no route\nto host"])
    );
    assert!(layers().type_name().ends_with("::Layer"));
}

#[test]
fn display_prints_the_message_and_alternate_display_the_chain() {
    assert_eq!(layers().to_string(), "loading failed");
    assert_eq!(
        format!("{:#}", layers()),
        "loading failed: connecting failed: no route\nto host"
    );
}

#[test]
fn debug_prints_the_chain_for_a_reader() {
    assert_eq!(
        format!("{:?}", layers()),
        "loading failed\n\nCaused by:\n    0: connecting failed\n    1: no route\n       to host"
    );
    assert_eq!(format!("{:?}", RemoteError::msg("alone")), "alone");
    assert!(format!("{:#?}", layers()).starts_with("RemoteError {"));
}

#[test]
fn boxed_error_has_the_chain_as_sources() {
    fn fails() -> Result<(), Box<dyn Error>> {
        Err(layers())?
    }
    let error = fails().unwrap_err();
    assert_eq!(format!("{error:?}"), format!("{:?}", layers()));
    let messages: Vec<_> = iter::successors(Some(&*error), |&error| error.source())
        .map(ToString::to_string)
        .collect();
    assert!(layers().chain().eq(messages.iter()));
}

#[test]
fn boxed_error_becomes_remote_again_with_its_chain() {
    let again = RemoteError::from_dyn(&*layers().into_error());
    assert!(again.chain().eq(layers().chain()));
}

#[test]
fn error_survives_the_wire() {
    let mut bytes = Vec::new();
    encode(&layers(), &mut bytes).unwrap();
    let (received, rest) = decode::<RemoteError>(&bytes).unwrap();
    assert_eq!(received, layers());
    assert!(rest.is_empty());
}
