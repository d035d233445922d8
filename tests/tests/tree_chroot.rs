//! A program in a root of its own, where there is no `/proc`: each method starts children.

use std::fs;
use std::process::Command;

use mp::StartMethod;
use multiproc_tests::methods;
use multiproc_tests::program::{Folder, run};
use rustix::process::geteuid;

methods! { children_are_started_in_a_root_without_proc }

/// The files that a program needs: the loader and the libraries, as `ldd` tells.
fn libraries(program: &str) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output();
    let output = String::from_utf8(output.expect("running ldd").stdout).expect("it is text");
    let paths = output
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    paths.map(str::to_owned).collect()
}

fn children_are_started_in_a_root_without_proc(method: StartMethod) {
    if !geteuid().is_root() {
        eprintln!("skipped: only root may change the root");
        return;
    }
    let folder = Folder::new();
    let program = env!("CARGO_BIN_EXE_tree_program");
    for library in libraries(program) {
        let inside = folder.path().join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().expect("a file is in a folder")).expect("making it");
        fs::copy(library, inside).expect("copying a library");
    }
    folder.copy(program, "program");
    // What looks like it does for a program that has its standard streams.
    fs::create_dir(folder.path().join("dev")).expect("making a folder");
    fs::write(folder.path().join("dev/null"), "").expect("making a file");
    let mut command = Command::new("chroot");
    let ended = run(command
        .arg(folder.path())
        .args(["/program", "values", method.name()]));
    let ended = ended.nothing_left().code(0);
    let said = "child: 1\ngrandchild: 3\ndaemon: 1\npool: 328350\n";
    assert_eq!((&*ended.stdout, &*ended.stderr), (said, ""));
}
