//! How far a sweep is: a bar on a terminal, a line now and then otherwise. Both on stderr.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::sweep::SweepProgress;

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// What has been shown so far.
pub(super) struct SweepDisplay {
    since: Instant,
    line: Instant,
    bar: Option<ProgressBar>,
}

impl SweepDisplay {
    pub(super) fn new() -> SweepDisplay {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {msg}");
            let bar = ProgressBar::new(0).with_style(style.expect("a template that is ours"));
            // A world may take minutes.
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        SweepDisplay { since: now, line: now, bar }
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
        } else if last || progress.now == 0 || self.line.elapsed() >= LINE_INTERVAL {
            self.line = Instant::now();
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
