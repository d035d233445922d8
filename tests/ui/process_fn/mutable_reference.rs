#[mp::process_fn]
fn sort(items: &mut Vec<u32>, more: Option<&mut [u32]>) {
    items.sort();
    if let Some(more) = more {
        more.sort();
    }
}

fn main() {}
