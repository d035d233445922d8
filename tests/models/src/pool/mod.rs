//! What `runtime/src/pool` is to the files that are modelled.

#![allow(dead_code, reason = "the models use a part of each file")]

#[path = "../../../../runtime/src/pool/item.rs"]
mod item;
#[path = "../../../../runtime/src/pool/words.rs"]
mod words;

mod line;
mod memory;
mod tasks;
mod visits;
