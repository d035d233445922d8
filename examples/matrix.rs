//! Sums a matrix of 100 MB in four child processes that all read the same memory: nobody copies it, and what each of
//! them is sent is a few bytes.
//!
//! In Python: `SharedMemory(create=True, size=matrix.nbytes)`, `np.ndarray(shape, dtype, buffer=memory.buf)` and a copy
//! into it, the name, shape and type passed by hand, and `close()` and `unlink()` at the right places. Here the matrix
//! is written where it stays, read-only for all by its type, and is freed with its last handle.

use std::ops::Range;

use mp::Shared;
use ndarray::{ArrayView2, s};

const ROWS: usize = 2_500;
const COLUMNS: usize = 5_000;

/// The matrix, as `ndarray` sees it, without a copy.
fn view(matrix: &Shared<[f64]>) -> ArrayView2<'_, f64> {
    ArrayView2::from_shape((ROWS, COLUMNS), matrix).expect("it has this many items")
}

#[mp::process_fn]
fn sum_rows(matrix: Shared<[f64]>, rows: Range<usize>) -> f64 {
    view(&matrix).slice(s![rows, ..]).sum()
}

#[mp::main]
fn main() -> mp::Result<()> {
    let matrix = Shared::<[f64]>::from_fn(ROWS * COLUMNS, |place| place as f64)?;
    let megabytes = size_of_val(&*matrix) / 1_000_000;
    println!("{megabytes} MB: {ROWS} rows of {COLUMNS} columns");

    let parts = [0, 1, 2, 3].map(|part| part * ROWS / 4..(part + 1) * ROWS / 4);
    let children = parts
        .clone()
        .map(|rows| mp::spawn!(sum_rows, matrix.clone(), rows));
    let mut total = 0.0;
    for (rows, child) in parts.into_iter().zip(children) {
        let sum = child?.join()?;
        println!("rows {}..{}: {sum}", rows.start, rows.end);
        total += sum;
    }
    println!("in all: {total}");
    Ok(())
}
