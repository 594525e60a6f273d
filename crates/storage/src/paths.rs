//! The temporary name and the parent directory of a path.

use std::path::{Path, PathBuf};

/// The name under which `path` is written until it is complete: `.NAME.new` in the same directory.
pub fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// The directory that contains a path: `.` for a single name, and for `/`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}
