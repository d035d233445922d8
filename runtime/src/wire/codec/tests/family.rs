//! Types of every kind that serde's data model has, and values of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use proptest::collection::{btree_map, btree_set, hash_map, vec, vec_deque};
use proptest::option;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Newtype(pub(super) Vec<u8>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair(pub(super) i16, pub(super) Box<[u8]>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Choice {
    Nothing,
    Bytes(Vec<u8>),
    Two(u64, Vec<f64>),
    Named { text: String, floats: Box<[f32]> },
    Deep(Box<Choice>),
}

type Bytes = (u8, i8, bool, char);
type Small = (u16, i16, u32, i32);
type Large = (u64, i64, usize, isize);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Integers {
    bytes: Bytes,
    small: Small,
    large: Large,
    wide: (u128, i128),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sequences {
    bytes: Vec<u8>,
    signed: Vec<i8>,
    singles: Vec<f32>,
    doubles: Box<[f64]>,
    words: Vec<u32>,
    bools: Vec<bool>,
    units: Vec<()>,
    nested: Vec<Vec<u8>>,
    rows: Vec<Vec<f64>>,
    array: [u8; 5],
    queue: VecDeque<u8>,
    set: BTreeSet<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Everything {
    integers: Integers,
    sequences: Sequences,
    text: String,
    unit: ((), Unit),
    newtype: Newtype,
    pair: Pair,
    choices: Vec<Choice>,
    nested: Option<Option<Vec<u8>>>,
    tree: BTreeMap<String, Vec<i8>>,
    table: HashMap<u16, (f32, f64)>,
    result: Result<Vec<f32>, String>,
    #[serde(skip)]
    skipped: u64,
}

pub(super) fn choice() -> impl Strategy<Value = Choice> {
    let leaf = prop_oneof![
        Just(Choice::Nothing),
        any::<Vec<u8>>().prop_map(Choice::Bytes),
        (any::<u64>(), doubles()).prop_map(|(a, b)| Choice::Two(a, b)),
        (any::<String>(), singles()).prop_map(|(text, floats)| Choice::Named {
            text,
            floats: floats.into(),
        }),
    ];
    leaf.prop_recursive(3, 8, 1, |inner| {
        inner.prop_map(|inner| Choice::Deep(Box::new(inner)))
    })
}

fn integers() -> impl Strategy<Value = Integers> {
    any::<(Bytes, Small, Large, (u128, i128))>().prop_map(|(bytes, small, large, wide)| Integers {
        bytes,
        small,
        large,
        wide,
    })
}

fn sequences() -> impl Strategy<Value = Sequences> {
    let blocks = (
        vec(any::<u8>(), 0..9),
        vec(any::<i8>(), 0..9),
        singles(),
        doubles(),
    );
    let others = (
        vec(any::<u32>(), 0..9),
        vec(any::<bool>(), 0..9),
        0..9_usize,
        any::<[u8; 5]>(),
    );
    let nested = (vec(vec(any::<u8>(), 0..200), 0..3), vec(doubles(), 0..3));
    let sets = (vec_deque(any::<u8>(), 0..9), btree_set(any::<u8>(), 0..9));
    (blocks, others, nested, sets).prop_map(|(blocks, others, (nested, rows), (queue, set))| {
        let (bytes, signed, singles, doubles) = blocks;
        let (words, bools, units, array) = others;
        Sequences {
            bytes,
            signed,
            singles,
            doubles: doubles.into(),
            words,
            bools,
            units: vec![(); units],
            nested,
            rows,
            array,
            queue,
            set,
        }
    })
}

pub(super) fn everything() -> impl Strategy<Value = Everything> {
    let parts = (
        integers(),
        sequences(),
        any::<String>(),
        vec(choice(), 0..4),
    );
    let small = (
        any::<Vec<u8>>(),
        any::<(i16, Vec<u8>)>(),
        option::of(option::of(any::<Vec<u8>>())),
    );
    let maps = (
        btree_map(any::<String>(), vec(any::<i8>(), 0..9), 0..4),
        hash_map(any::<u16>(), (-1e9..1e9_f32, -1e99..1e99_f64), 0..4),
        prop_oneof![singles().prop_map(Ok), any::<String>().prop_map(Err)],
    );
    (parts, small, maps).prop_map(|(parts, (newtype, (number, bytes), nested), maps)| {
        let (integers, sequences, text, choices) = parts;
        let (tree, table, result) = maps;
        Everything {
            integers,
            sequences,
            text,
            unit: ((), Unit),
            newtype: Newtype(newtype),
            pair: Pair(number, bytes.into()),
            choices,
            nested,
            tree,
            table,
            result,
            skipped: 0,
        }
    })
}

fn singles() -> impl Strategy<Value = Vec<f32>> {
    vec(-1e9..1e9_f32, 0..9)
}

fn doubles() -> impl Strategy<Value = Vec<f64>> {
    vec(-1e99..1e99_f64, 0..9)
}
