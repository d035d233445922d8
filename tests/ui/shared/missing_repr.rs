use mp::bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "mp::bytemuck")]
struct Point {
    x: f64,
    y: f64,
}

fn main() {
    let _ = mp::Value::new(Point { x: 1.0, y: 2.0 });
}
