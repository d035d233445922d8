//! Values and arrays.

use mp::bytemuck::{Pod, Zeroable};
use mp::{Array, Error, Value};
use multiproc_tests::leaks::alone;

#[mp::process_fn]
fn add_many(number: Value<i64>, items: Array<f64>, times: usize) {
    for n in 0..times {
        if n % 2 == 0 {
            *number.lock().expect("no death") += 1;
        } else {
            number.update(|n| n + 1).expect("no death");
        }
        let length = items.len();
        items.lock().expect("no death")[n % length] += 0.5;
    }
}

#[mp::test]
fn no_update_is_lost() {
    alone(|| {
        let number = Value::new(-7).expect("making a value");
        let items = Array::zeroed(3).expect("making an array");
        let processes: Vec<_> = (0..4)
            .map(|_| mp::spawn!(add_many, number.clone(), items.clone(), 9000).expect("spawning"))
            .collect();
        for process in processes {
            process.join().expect("it ends");
        }
        assert_eq!(number.get().expect("it is free"), 4 * 9000 - 7);
        assert_eq!(items.to_vec().expect("it is free"), [4.0 * 3000.0 * 0.5; 3]);
    });
}

#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
#[repr(C)]
struct Point {
    x: f64,
    y: f32,
    tag: [u8; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
#[repr(C, align(64))]
struct Line([u64; 8]);

#[mp::process_fn]
fn move_it(point: Value<Point>, line: Value<Line>, lines: Array<Line>) -> usize {
    point.lock().expect("no death").x += 1.0;
    line.lock().expect("no death").0[7] = 8;
    lines.lock().expect("no death")[1] = Line([9; 8]);
    let addresses = [
        std::ptr::from_ref(&*line.lock().expect("no death")).addr(),
        lines.lock().expect("no death").as_ptr().addr(),
    ];
    addresses.iter().map(|address| address % 64).sum()
}

#[mp::test]
fn types_of_the_program_can_be_shared() {
    alone(|| {
        let start = Point {
            x: 1.5,
            y: 2.5,
            tag: *b"here",
        };
        let point = Value::new(start).expect("making a value");
        let line = Value::new(Line([1; 8])).expect("making a value");
        let lines = Array::from_slice(&[Line([2; 8]); 3]).expect("making an array");
        let process =
            mp::spawn!(move_it, point.clone(), line.clone(), lines.clone()).expect("spawning");
        assert_eq!(process.join().expect("it ends"), 0, "they are aligned");
        assert_eq!(point.get().expect("it is free"), Point { x: 2.5, ..start });
        assert_eq!(
            line.get().expect("it is free"),
            Line([1, 1, 1, 1, 1, 1, 1, 8])
        );
        let expected = [Line([2; 8]), Line([9; 8]), Line([2; 8])];
        assert_eq!(lines.to_vec().expect("it is free"), expected);
    });
}

#[mp::process_fn]
fn length_of(array: Array<u16>, nothing: Array<()>, value: Value<()>) -> (usize, usize) {
    value.get().expect("no death");
    assert!(array.lock().expect("no death").is_empty());
    (array.len(), nothing.len())
}

#[mp::test]
fn arrays_may_be_empty_and_items_may_have_no_size() {
    alone(|| {
        let empty = Array::<u16>::from_slice(&[]).expect("making an array");
        assert!(empty.is_empty());
        assert_eq!(empty.to_vec().expect("it is free"), [0_u16; 0]);
        let nothing = Array::<()>::zeroed(1000).expect("making an array");
        let value = Value::new(()).expect("making a value");
        let process = mp::spawn!(length_of, empty, nothing, value).expect("spawning");
        assert_eq!(process.join().expect("it ends"), (0, 1000));
    });
}

#[mp::test]
fn arrays_that_are_too_long_are_refused() {
    alone(|| {
        for length in [1 << 40, usize::MAX / 8, usize::MAX / 4, usize::MAX] {
            let refused = Array::<u64>::zeroed(length);
            assert!(
                matches!(refused, Err(Error::OutOfMemory { .. })),
                "{length}: {refused:?}"
            );
        }
    });
}

#[mp::process_fn]
fn sum(items: Array<f64>) -> f64 {
    items.lock().expect("no death").iter().sum()
}

#[mp::test]
fn large_arrays_are_the_same_everywhere() {
    alone(|| {
        let items: Vec<_> = (0..1_000_000).map(f64::from).collect();
        let array = Array::from_slice(&items).expect("making an array");
        let process = mp::spawn!(sum, array.clone()).expect("spawning");
        assert_eq!(
            process.join().expect("it ends").to_bits(),
            items.iter().sum::<f64>().to_bits()
        );
        assert!(array.to_vec().expect("it is free") == items);
    });
}

#[mp::test]
fn new_arrays_of_zeroes_are_zero_where_others_were() {
    alone(|| {
        for length in [10, 1000, 3_000_000] {
            drop(Array::from_slice(&vec![0xff_u8; length]).expect("making an array"));
            let zeroes = Array::<u8>::zeroed(length).expect("making an array");
            assert!(
                zeroes
                    .lock()
                    .expect("it is free")
                    .iter()
                    .all(|byte| *byte == 0)
            );
        }
    });
}

#[mp::test]
fn values_and_arrays_show_their_content() {
    alone(|| {
        let value = Value::new(5).expect("making a value");
        let array = Array::from_slice(&[1, 2]).expect("making an array");
        assert!(format!("{value:?}").contains('5'));
        assert!(format!("{array:?}").contains("[1, 2]"));
        let _guard = value.lock().expect("it is free");
        assert!(format!("{value:?}").contains("locked"));
    });
}
