//! scratch
use simnet::scenario::*;
use simnet::*;
fn main() {
    let nodes: u32 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(10);
    let h = 3_600_000;
    let s = Scenario {
        name: "x".into(),
        question: "".into(),
        horizon: 24 * h,
        nodes,
        circle: 5,
        topology: Topology::Random,
        availability: 0.95,
        mean_outage: 2 * h,
        poll: (300_000, 900_000),
        max_poll_age: 1_800_000,
        roll: (1_200_000, 2_400_000),
        settle: h,
        ask_timeout: 45_000,
        roll_timeout: 120_000,
        tor: Tor {
            connect: (2500, 0.55),
            stuck: 0.02,
            slow: (0.0, 0, 0),
            round_trip: (280, 0.8),
            hiccup: (0.002, 5000, 10000),
            vantage: vec![0, 50, 155, 400],
        },
        release: (h, 6 * h),
        background: 600_000,
        late: 12 * h,
        faults: vec![],
        adversary: std::env::args().nth(2).map(|_| Adversary {
            start: 10 * h,
            victims: 1,
            colluding: Colluding::OfCircle(4),
            attack: Attack::Fork,
        }),
    };
    let t = std::time::Instant::now();
    let seed = Seed(7);
    let e = simnet::real::run(Environment::new(s, seed), seed).unwrap();
    let cycles = e.iter().filter(|e| matches!(e.what, trace::What::Cycled(..))).count();
    println!(
        "{} events, {cycles} cycles, {:?}: {:.0} cycles/s",
        e.len(),
        t.elapsed(),
        cycles as f64 / t.elapsed().as_secs_f64()
    );
    let mut kinds = std::collections::BTreeMap::new();
    for e in &e {
        let k = format!("{:?}", e.what);
        let k: String = k.chars().filter(|c| !c.is_ascii_digit()).collect();
        *kinds.entry(k).or_insert(0) += 1;
    }
    println!("{kinds:#?}");
}
