//! Progress of a sweep on stderr: a bar on a terminal, otherwise a line every ten seconds.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::sweep::SweepProgress;

/// The time between two lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress display of one sweep.
pub(super) struct SweepDisplay {
    since: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl SweepDisplay {
    pub(super) fn new() -> SweepDisplay {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {msg}");
            let bar = ProgressBar::new(0).with_style(style.expect("a constant template"));
            // A world may take minutes, so the bar also moves between worlds.
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        SweepDisplay { since: now, last_line: now, bar }
    }

    pub(super) fn show(&mut self, progress: SweepProgress) {
        let done = progress.before + progress.now;
        let last = done == progress.all;
        let text = format_progress(progress, self.since.elapsed());
        if let Some(bar) = &self.bar {
            bar.set_length(progress.all);
            bar.set_position(done);
            bar.set_message(text);
            if last {
                bar.finish();
            }
        } else if last || progress.now == 0 || self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            eprintln!("simnet: {text}");
        }
    }
}

fn format_progress(progress: SweepProgress, elapsed: Duration) -> String {
    let done = progress.before + progress.now;
    let mut text = format!("{done} of {} worlds", progress.all);
    if progress.now == 0 {
        return text;
    }
    let rate = progress.now as f64 / elapsed.as_secs_f64().max(1e-3);
    text += &match rate < 1.0 {
        true => format!(", {:.1} a minute", rate * 60.0),
        false => format!(", {rate:.1} a second"),
    };
    if done < progress.all {
        let left = Duration::from_secs_f64((progress.all - done) as f64 / rate);
        text += &format!(", {} left", HumanDuration(left));
    }
    text
}
