//! The path of the program `unanimity-install`, which `cargo test --workspace` builds.

use std::path::{Path, PathBuf};

/// The installer beside `unanimity`, in the same target directory.
pub(crate) fn installer_path() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_unanimity")).with_file_name("unanimity-install");
    assert!(
        program.exists(),
        "unanimity-install is not built. Run `cargo build -p unanimity-install`"
    );
    program
}
