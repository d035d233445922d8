//! What a child finds around it: its environment, its working directory and its limits.
//!
//! A program that is executed anew is given all of it; a copy of a process has that process's, and changes it.
//!
//! # Safety
//!
//! One thing is `unsafe`: to change the environment, while nobody else looks.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::arena::CHILD_MARK;
use crate::sys::Limits;

/// All of an environment.
pub(super) type Variables = Vec<(OsString, OsString)>;

/// What the builder was told.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) clear_environment: bool,
    /// Later changes override earlier ones; a variable without a value is removed.
    pub(super) changes: Vec<(OsString, Option<OsString>)>,
    pub(super) directory: Option<PathBuf>,
    pub(super) limits: Limits,
}

/// How a copy changes what it finds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Changes {
    /// Whether nothing of the environment that it finds is to stay.
    clear: bool,
    variables: Vec<(OsString, Option<OsString>)>,
    directory: Option<OsString>,
}

impl Surroundings {
    /// The environment of the child, by the words of an error if there can be none.
    pub(super) fn environment(&self) -> io::Result<Variables> {
        let mut variables: Variables = if self.clear_environment {
            Vec::new()
        } else {
            std::env::vars_os().collect()
        };
        for (name, value) in &self.changes {
            if name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
                let error = format!("an environment variable cannot be named {name:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
            }
            let text = value.iter().chain([name]);
            if let Some(text) = text
                .into_iter()
                .find(|text| text.as_encoded_bytes().contains(&0))
            {
                let error = format!("{text:?} has a zero byte, which ends texts for the system");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
            }
            variables.retain(|(existing, _)| existing != name);
            variables.extend(value.clone().map(|value| (name.clone(), value)));
        }
        // It is the library's.
        variables.retain(|(name, _)| name != CHILD_MARK);
        Ok(variables)
    }

    /// What a copy has to change of an environment that it finds, or of this process's.
    pub(super) fn changes_of(&self, found: Option<&Variables>) -> io::Result<Changes> {
        let directory = self.directory.clone().map(PathBuf::into_os_string);
        let unchanged = |directory| Changes {
            clear: false,
            variables: Vec::new(),
            directory,
        };
        let own;
        let found = match found {
            Some(found) => found,
            None if self.changes.is_empty() && !self.clear_environment => {
                return Ok(unchanged(directory));
            }
            None => {
                own = std::env::vars_os().collect();
                &own
            }
        };
        let wanted = self.environment()?;
        if wanted == *found {
            return Ok(unchanged(directory));
        }
        let known: FxHashMap<_, _> = found.iter().map(|(name, value)| (name, value)).collect();
        let kept: FxHashMap<_, _> = wanted.iter().map(|(name, value)| (name, value)).collect();
        let gone = found
            .iter()
            .filter(|(name, _)| !kept.contains_key(name))
            .map(|(name, _)| (name.clone(), None));
        let new = wanted
            .iter()
            .filter(|(name, value)| known.get(name) != Some(&value))
            .map(|(name, value)| (name.clone(), Some(value.clone())));
        Ok(Changes {
            clear: false,
            variables: gone.chain(new).collect(),
            directory,
        })
    }

    /// What a copy has to change when it is not known what it finds.
    pub(super) fn all_changes(&self) -> io::Result<Changes> {
        let wanted = self.environment()?;
        let variables = wanted.into_iter().map(|(name, value)| (name, Some(value)));
        Ok(Changes {
            clear: true,
            variables: variables.collect(),
            directory: self.directory.clone().map(PathBuf::into_os_string),
        })
    }
}

impl Changes {
    /// In a copy, before anything of its function runs.
    pub(super) fn make(self) -> Result<(), String> {
        let gone = self.clear.then(std::env::vars_os).into_iter().flatten();
        let gone = gone.map(|(name, _)| (name, None));
        // Whoever set it, it is not of this process.
        let mark = std::env::var_os(CHILD_MARK).map(|_| (CHILD_MARK.into(), None));
        for (name, value) in gone.chain(self.variables).chain(mark) {
            // SAFETY: this process has one thread, which is in this library.
            #[allow(unsafe_code)]
            unsafe {
                match value {
                    Some(value) => std::env::set_var(name, value),
                    None => std::env::remove_var(name),
                }
            }
        }
        let Some(directory) = self.directory else {
            return Ok(());
        };
        std::env::set_current_dir(&directory).map_err(|error| {
            format!(
                "its working directory `{}` cannot be entered: {error}",
                directory.display()
            )
        })
    }
}
