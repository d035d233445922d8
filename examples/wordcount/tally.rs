//! How often words occur. Nothing in here knows about processes.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What was counted so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many files were counted.
    pub files: u64,
    /// What could not be counted as it should, and why.
    pub problems: Vec<String>,
    counts: HashMap<String, u64>,
}

impl Tally {
    /// Counts the words of one file. A file that cannot be read is a problem, and no reason to stop.
    pub fn count_file(&mut self, path: &Path) {
        match fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if let Cow::Owned(_) = text {
                    self.note_problem(
                        path,
                        "not UTF-8, counted as if its invalid bytes were spaces",
                    );
                }
                self.count_text(&text);
                self.files += 1;
            }
            Err(error) => self.note_problem(path, error),
        }
    }

    /// Counts the words of a text: the runs of letters and digits, together with the apostrophes inside them, in
    /// lower case.
    fn count_text(&mut self, text: &str) {
        const APOSTROPHES: [char; 2] = ['\'', '’'];
        for run in text.split(|c: char| !c.is_alphanumeric() && !APOSTROPHES.contains(&c)) {
            let word = run.trim_matches(APOSTROPHES);
            if !word.is_empty() {
                *self.counts.entry(word.to_lowercase()).or_default() += 1;
            }
        }
    }

    /// Notes what is wrong with a file or folder.
    pub fn note_problem(&mut self, path: &Path, problem: impl Display) {
        self.problems.push(format!("{}: {problem}", path.display()));
    }

    /// Adds what another tally has counted.
    pub fn merge(&mut self, other: Tally) {
        self.files += other.files;
        self.problems.extend(other.problems);
        for (word, count) in other.counts {
            *self.counts.entry(word).or_default() += count;
        }
    }

    /// The most frequent words and their counts, the words with equal counts in alphabetical order.
    pub fn most_frequent(&self, limit: usize) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self
            .counts
            .iter()
            .map(|(word, &count)| (word.as_str(), count))
            .collect();
        words.sort_unstable_by_key(|&(word, count)| (Reverse(count), word));
        words.truncate(limit);
        words
    }

    /// How many words there are.
    pub fn words(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many different words there are.
    pub fn distinct_words(&self) -> usize {
        self.counts.len()
    }
}
