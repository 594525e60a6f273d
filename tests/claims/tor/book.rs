//! The commands of the book that need peers over Tor.

use unanimity_testkit::ReleaseSpec;

use super::TorTestWorld;
use crate::documents;

#[test]
fn commands_of_the_book_run_with_peers_over_tor() {
    let mut world = TorTestWorld::start(3);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    assert_eq!(world.update_until_settled().exit_code, 0);
    documents::run_tor_pages(&world.client.directory.join("unanimity.toml"));
}
