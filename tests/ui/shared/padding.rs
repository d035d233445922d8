use mp::bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
#[repr(C)]
struct Point {
    x: f64,
    visible: u8,
}

fn main() {
    let _ = mp::Array::from_slice(&[Point { x: 1.0, visible: 1 }]);
}
