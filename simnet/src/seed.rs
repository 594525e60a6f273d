//! Random numbers, derived from their purpose and never from the order of events.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use unanimity_protocol::Hash;

/// The seed of a world. Scenario, seed and version reproduce the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The draws for one purpose. Draws for different purposes are independent.
    pub fn draws(self, purpose: &str) -> Draws {
        let digest = Hash::digest(format!("{} {purpose}", self.0).as_bytes()).0;
        Draws(u64::from_le_bytes(digest[..8].try_into().expect("eight bytes")))
    }
}

/// Independent draws for one purpose, each named by a node and a counter.
#[derive(Clone, Copy, Debug)]
pub struct Draws(u64);

impl Draws {
    /// 64 random bits: the finalizer of SplitMix64 (Steele, Lea, Flood 2014) over key, node and
    /// counter.
    pub fn bits(self, node: u64, counter: u64) -> u64 {
        mix(mix(mix(self.0) ^ node).wrapping_add(counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// A uniform number in [0, 1), with 53 random bits.
    pub fn unit(self, node: u64, counter: u64) -> f64 {
        (self.bits(node, counter) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A random number generator, for code that takes one.
    pub fn rng(self, node: u64, counter: u64) -> StdRng {
        StdRng::seed_from_u64(self.bits(node, counter))
    }
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
