//! Builds the C code of the example `crashing_c`.

fn main() {
    println!("cargo::rerun-if-changed=crashing_c.c");
    cc::Build::new().file("crashing_c.c").compile("crashing_c");
}
