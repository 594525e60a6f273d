//! Generator of the saved corpus: `cargo run --example seed` writes the seeds of every target.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    unanimity_fuzz::seeds::assert_sound();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for seed in unanimity_fuzz::seeds::all() {
        let directory = corpus.join(seed.target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(&seed.name), &seed.bytes)?;
    }
    Ok(())
}
