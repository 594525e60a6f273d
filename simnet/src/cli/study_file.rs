//! Reading a study from a file.

use std::path::Path;

use super::exit::SimulatorError;
use crate::Study;

pub(super) fn read_study(path: &Path, set: &[String]) -> Result<Study, SimulatorError> {
    let bytes =
        unanimity_storage::read_at_most(path, 1 << 20).map_err(SimulatorError::Unreadable)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| SimulatorError::Usage(format!("{} is not UTF-8 text", path.display())))?;
    Ok(Study::read(path, &text, set)?)
}
