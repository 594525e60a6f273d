//! Closed formulas for quantities that the simulator must reproduce.

/// The binomial coefficient, n over k.
pub fn binomial(n: u32, k: u32) -> f64 {
    (0..k).map(|i| f64::from(n - i) / f64::from(i + 1)).product::<f64>()
        * f64::from(u8::from(k <= n))
}

/// The mean time until all of n services are up, from a random time at which not all are up. Each
/// service is up with probability `p`, and an outage lasts `outage` on average. The result has the
/// unit of `outage`.
pub fn mean_wait_until_all_up(n: u32, p: f64, outage: f64) -> f64 {
    let (fails, mends) = ((1.0 - p) / (p * outage), 1.0 / outage);
    // Mean time from k down to k-1 down: g(k) = (1 + (n-k) fails g(k+1)) / (k mends).
    let mut fewer = vec![0.0; n as usize + 2];
    for k in (1..=n).rev() {
        let more = f64::from(n - k) * fails * fewer[k as usize + 1];
        fewer[k as usize] = (1.0 + more) / (f64::from(k) * mends);
    }
    let down = |k: u32| binomial(n, k) * (1.0 - p).powi(k as i32) * p.powi((n - k) as i32);
    let wait = |k: u32| fewer[1..=k as usize].iter().sum::<f64>();
    (1..=n).map(|k| down(k) * wait(k)).sum::<f64>() / (1.0 - p.powi(n as i32))
}

/// The mean of the longest of n lognormal times: the integral of exp(mu + sigma z) n phi(z)
/// Phi(z)^(n-1). The result has the unit of `median`.
pub fn mean_of_slowest(n: u32, median: f64, sigma: f64) -> f64 {
    let (step, mut below, mut sum) = (1e-4, 0.0, 0.0);
    for i in -90_000..90_000 {
        let z = (f64::from(i) + 0.5) * step;
        let weight = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * step;
        let slowest = f64::from(n) * (below + weight / 2.0_f64).powi(n as i32 - 1) * weight;
        sum += median * (sigma * z).exp() * slowest;
        below += weight;
    }
    sum
}
