//! Where the program `unanimity-install` is: `cargo test --workspace` builds it beside the other one.

use std::path::{Path, PathBuf};

pub(crate) fn installer_path() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_unanimity")).with_file_name("unanimity-install");
    assert!(program.exists(), "build it first: cargo build -p unanimity-install");
    program
}
