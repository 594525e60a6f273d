//! Benchmark of a download from an onion service, compared with a bare copy over the same circuit.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use std::{fs, io};

use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use unanimity_config::tor_settings::{TorNetwork as Network, TorSettings};
use unanimity_config::{MirrorUrl, OnionAddress};
use unanimity_net::{ByteStream, Listener as _, Mirror, WebConnector};
use unanimity_protocol::Hash;
use unanimity_protocol::log_path::artifact_path;
use unanimity_testkit_tor::PrivateTorNetwork;
use unanimity_tor::{AuthorizedClients, ServiceSettings, TorClient};

use super::nginx::Nginx;
use super::{BenchError, create_confirmed_world, discard_download, download_release, median};

const BYTES: usize = 8 << 20;
const ROUNDS: u64 = 7;

pub(crate) async fn measure(network: &PrivateTorNetwork) -> Result<(), BenchError> {
    let mut artifact = vec![0; BYTES];
    StdRng::seed_from_u64(1).fill_bytes(&mut artifact);
    let path = artifact_path(&Hash::digest(&artifact));
    let scratch = network.scratch_path("mirror");
    let mut world = create_confirmed_world(&scratch.join("world"), &artifact).await?;
    let nginx = Nginx::start(&world.log_directory())?;
    let (address, _host) =
        host_onion_service(network, &scratch.join("host"), nginx.plain_port).await?;
    let tor = connect_tor(network, &scratch.join("client")).await?;
    let site: MirrorUrl = format!("http://{}", address.host()).parse()?;
    let web: Arc<dyn WebConnector> = Arc::new(OneCircuit(tor.isolated()));
    world.mirrors = vec![Mirror::from_url(site.to_string(), site.clone(), &web)];
    // Opens the circuit that all measurements below use.
    copy_bare(&*web, &site, &path).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for seed in 0..ROUNDS {
        let began = Instant::now();
        download_release(&world, seed).await?;
        ours.push(began.elapsed());
        discard_download(&world)?;
        let began = Instant::now();
        copy_bare(&*web, &site, &path).await?;
        bare.push(began.elapsed());
    }
    let (ours, bare) = (median(&ours), median(&bare));
    println!(
        "\nA download of {} MiB from an onion service of a private Tor network, median of {ROUNDS}\n\
         ours {ours:.2} s ({:.1} MiB/s)\n{:>4}a bare copy over the same circuit {bare:.2} s: {:.2}",
        BYTES >> 20,
        (BYTES >> 20) as f64 / ours,
        "",
        ours / bare
    );
    Ok(())
}

/// Hosts an onion service for any client, in front of a port of 127.0.0.1.
async fn host_onion_service(
    network: &PrivateTorNetwork,
    scratch: &Path,
    port: u16,
) -> Result<(OnionAddress, TorClient), BenchError> {
    let tor = connect_tor(network, scratch).await?;
    let hosting = ServiceSettings { nickname: "mirror".into(), port: 80, proof_of_work: false };
    let mut listener = tor.launch_service(&hosting, &AuthorizedClients::Anyone)?;
    let address = listener.address().clone();
    listener.service().wait_until_reachable().await;
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            tokio::spawn(async move {
                let mut nginx = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
                copy_bidirectional(&mut stream, &mut nginx).await.ok()
            });
        }
    });
    Ok((address, tor))
}

async fn connect_tor(network: &PrivateTorNetwork, scratch: &Path) -> Result<TorClient, BenchError> {
    let settings = TorSettings {
        state: scratch.join("state"),
        cache: scratch.join("cache"),
        network: Network::Private(network.arti_config()),
    };
    for directory in [&settings.state, &settings.cache] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let tor = TorClient::new(&settings, None)?;
    tor.bootstrap(|_, _| {}).await?;
    Ok(tor)
}

/// Downloads a file without a check, and discards the bytes.
async fn copy_bare(web: &dyn WebConnector, site: &MirrorUrl, path: &str) -> Result<(), BenchError> {
    let mut stream = web.connect(site).await?;
    let request =
        format!("GET /{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.host);
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => total += count,
            // The header and all bytes have arrived, so it does not matter how the stream ends.
            _ if total > BYTES => return Ok(()),
            Ok(_) => return Err(format!("{total} bytes only").into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A connector that keeps one circuit. A client uses new circuits in every cycle, and the time to
/// build them is not measured here.
#[derive(Clone)]
struct OneCircuit(Arc<dyn WebConnector>);

impl WebConnector for OneCircuit {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        self.0.connect(site)
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(self.clone())
    }
}
