//! Benchmark of a verified download, compared with curl, with curl and `sha256sum`, and with bare
//! hashing and writing.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use unanimity_protocol::Hash;
use unanimity_protocol::log_path::artifact_path;

use super::nginx::Nginx;
use super::{
    BenchError, create_confirmed_world, discard_download, download_release, median,
    scratch_directories,
};

const BYTES: usize = 256 << 20;
const ROUNDS: u64 = 7;

pub(crate) async fn measure() -> Result<(), BenchError> {
    let mut artifact = vec![0; BYTES];
    StdRng::seed_from_u64(1).fill_bytes(&mut artifact);
    let path = artifact_path(&Hash::digest(&artifact));
    println!("A download of 256 MiB over TLS, median of {ROUNDS} (curl does not verify)");
    for (name, scratch) in scratch_directories()? {
        let mut world = create_confirmed_world(&scratch.path().join("world"), &artifact).await?;
        let nginx = Nginx::start(&world.log_directory())?;
        world.mirrors = vec![nginx.mirror()?];
        let file = scratch.path().join("file");
        let get = format!("curl -sS --http1.1 -o '{0}' \"$1/{path}\"", file.display());
        let verify = format!(
            "echo '{}  {}' | sha256sum -c --quiet",
            Hash::digest(&artifact),
            file.display()
        );
        let sync = format!("sync '{}'", file.display());
        let mut times: [Vec<Duration>; 4] = Default::default();
        // The four variants run in turn, so that other load affects all of them.
        for seed in 0..ROUNDS {
            let began = Instant::now();
            download_release(&world, seed).await?;
            times[0].push(began.elapsed());
            discard_download(&world)?;
            times[1].push(nginx.run_shell(&format!("{get}; {sync}"))?);
            std::fs::remove_file(&file)?;
            times[2].push(nginx.run_shell(&format!("{get}; {verify}; {sync}"))?);
            std::fs::remove_file(&file)?;
            times[3].push(hash_and_write(&file, &artifact)?);
            std::fs::remove_file(&file)?;
        }
        let [ours, curl, verified, bare] = times.map(|times| median(&times));
        println!("{name}: ours {ours:.2} s ({:.0} MiB/s)", 256.0 / ours);
        for (what, time) in
            [("curl", curl), ("curl, sha256sum", verified), ("hashing, writing", bare)]
        {
            println!("{:>4}{what:<17} {time:.2} s: {:.2}", "", ours / time);
        }
    }
    Ok(())
}

/// Measures the time to hash `bytes` and to write them to a synced file.
fn hash_and_write(path: &Path, bytes: &[u8]) -> Result<Duration, BenchError> {
    let began = Instant::now();
    let (mut file, mut hasher) = (File::create(path)?, Sha256::new());
    for piece in bytes.chunks(64 * 1024) {
        hasher.update(piece);
        file.write_all(piece)?;
    }
    file.sync_all()?;
    std::hint::black_box(hasher.finalize());
    Ok(began.elapsed())
}
