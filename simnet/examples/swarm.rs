//! scratch
use simnet::*;
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let t = std::time::Instant::now();
    let mut bad = 0;
    for n in a[0]..a[1] {
        let seed = Seed(n);
        let v = swarm::play(&swarm::scenario(seed), seed).unwrap().violations;
        if let Some(first) = v.first() {
            bad += 1;
            println!("seed {n}: {first} (+{})", v.len() - 1);
        }
    }
    println!("{} worlds, {bad} bad, {:?}", a[1] - a[0], t.elapsed());
}
