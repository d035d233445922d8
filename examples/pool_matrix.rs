//! Multiplies two matrices in a pool, a block of rows in each task. Nobody copies the matrices: they lie in shared
//! memory, and what a task is sent are a few bytes.
//!
//! In Python, `pool.starmap(multiply, …)` with arrays as arguments pickles them for every task, through a pipe.

use std::ops::Range;

use mp::Shared;
use ndarray::{Array2, ArrayView2, s};

const ROWS: usize = 500;
const INNER: usize = 200;
const COLUMNS: usize = 300;

/// How many rows of the product a task makes.
const BLOCK: usize = 64;

/// The left matrix, as `ndarray` sees it, without a copy.
fn left_view(left: &Shared<[f64]>) -> ArrayView2<'_, f64> {
    ArrayView2::from_shape((ROWS, INNER), left).expect("it has this many items")
}

/// The right matrix.
fn right_view(right: &Shared<[f64]>) -> ArrayView2<'_, f64> {
    ArrayView2::from_shape((INNER, COLUMNS), right).expect("it has this many items")
}

#[mp::process_fn]
fn multiply(left: Shared<[f64]>, right: Shared<[f64]>, rows: Range<usize>) -> Vec<f64> {
    let block = left_view(&left)
        .slice(s![rows, ..])
        .dot(&right_view(&right));
    block.into_iter().collect() // row by row
}

#[mp::main]
fn main() -> mp::Result<()> {
    let left = Shared::<[f64]>::from_fn(ROWS * INNER, |place| (place % 7) as f64)?;
    let right = Shared::<[f64]>::from_fn(INNER * COLUMNS, |place| (place % 11) as f64)?;

    let pool = mp::Pool::new(mp::cpu_count())?;
    let tasks = (0..ROWS).step_by(BLOCK).map(|start| {
        let rows = start..ROWS.min(start + BLOCK);
        (left.clone(), right.clone(), rows)
    });
    let blocks = pool.map::<multiply>(tasks)?;

    println!("{} blocks of rows", blocks.len());
    let product = Array2::from_shape_vec((ROWS, COLUMNS), blocks.concat())
        .expect("the blocks are all rows of the product");
    println!("the sum of the product: {}", product.sum());
    let alone = left_view(&left).dot(&right_view(&right));
    println!("the same as without a pool: {}", product == alone);
    Ok(())
}
