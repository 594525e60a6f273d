//! The progress of a cycle: bars on a terminal, otherwise lines, both on standard error. With
//! `--json`, lines of JSON on standard output.
//!
//! A separate thread writes, so that a reader that stalls does not stall a download.

use std::io::{IsTerminal as _, Write as _};
use std::mem::discriminant;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{
    fmt,
    thread::{self},
};

use indicatif::{
    BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use serde_json::json;
use unanimity_client::{CycleProgress, ProgressSink};

/// The shortest time between two lines of text while one step advances.
pub const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between two lines of JSON while one step advances.
pub const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two redraws of a bar while no message comes.
const TICK: Duration = Duration::from_millis(250);
/// The most progress messages that wait for the thread. Further messages are dropped.
const MAX_QUEUED: usize = 64;

/// A display of a cycle's progress. When the display is dropped, its bar is cleared from the
/// terminal.
pub(super) struct ProgressDisplay {
    /// The channel to the thread that writes. `None` tells that thread to end.
    sender: SyncSender<Option<CycleProgress>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressDisplay {
    pub(super) fn new(json: bool) -> ProgressDisplay {
        let (steps, receiver) = sync_channel(MAX_QUEUED);
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let output = if json {
            ProgressOutput::Lines(ProgressThrottle::new(EVENT_INTERVAL), write_event)
        } else if std::io::stderr().is_terminal() && !is_dumb {
            ProgressOutput::Bar(None)
        } else {
            ProgressOutput::Lines(ProgressThrottle::new(LINE_INTERVAL), write_line)
        };
        ProgressDisplay {
            sender: steps,
            thread: Some(thread::spawn(move || write_all_progress(output, &receiver))),
        }
    }

    #[cfg(feature = "tor")]
    pub(super) fn send(&self, step: CycleProgress) {
        self.sender.try_send(Some(step)).ok();
    }

    pub(super) fn sink(&self) -> ProgressSink {
        let steps = self.sender.clone();
        ProgressSink::new(move |step| drop(steps.try_send(Some(step))))
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.sender.send(None).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

enum ProgressOutput {
    Bar(Option<Bar>),
    Lines(ProgressThrottle, fn(&CycleProgress)),
}

fn write_all_progress(mut output: ProgressOutput, steps: &Receiver<Option<CycleProgress>>) {
    while let Ok(Some(step)) = steps.recv() {
        match &mut output {
            ProgressOutput::Lines(throttle, write) => {
                if throttle.should_show(&step, Instant::now()) {
                    write(&step);
                }
            }
            ProgressOutput::Bar(bar) => match bar {
                Some(bar) if bar.is_continued_by(&step) => bar.update(&step),
                other => {
                    // Clears the old bar from the terminal before the new one is drawn.
                    *other = None;
                    *other = Some(Bar::new(step));
                }
            },
        }
    }
}

/// A limit on progress messages. It passes the start and the end of each step, and other messages
/// about the step at an interval.
#[derive(Debug)]
pub struct ProgressThrottle {
    interval: Duration,
    last: Option<(CycleProgress, Instant)>,
}

impl ProgressThrottle {
    /// Makes a throttle that waits at least `interval` between messages about one step, except
    /// before the message about its end.
    pub fn new(interval: Duration) -> ProgressThrottle {
        ProgressThrottle { interval, last: None }
    }

    /// Decides whether to show a message, and remembers a message that is shown.
    pub fn should_show(&mut self, step: &CycleProgress, now: Instant) -> bool {
        let passes = self.last.as_ref().is_none_or(|(last, at)| {
            let is_news =
                step.is_start() || step.is_complete() || discriminant(step) != discriminant(last);
            last != step && (is_news || now.duration_since(*at) >= self.interval)
        });
        if passes {
            self.last = Some((step.clone(), now));
        }
        passes
    }
}

fn write_event(step: &CycleProgress) {
    let mut event = json!(step);
    event["schema"] = "unanimity/v1".into();
    // A failure to write the report cannot be reported.
    unanimity_report::print(&format!("{event}\n")).ok();
}

fn write_line(step: &CycleProgress) {
    writeln!(std::io::stderr(), "{}", describe(step)).ok();
}

/// Describes a message in one line for people. Names are escaped: they add no line, and no control
/// character reaches the terminal.
pub fn describe(step: &CycleProgress) -> String {
    let words = match step {
        CycleProgress::Round { peers, .. } if step.is_start() => format!("asking peers: {peers}"),
        CycleProgress::Round { peers, answered, .. } => {
            format!("{answered} of {peers} peers have answered{}", describe_failures(step))
        }
        CycleProgress::Log { of, .. } if step.is_start() => {
            format!("reading entries of the log: {of}")
        }
        CycleProgress::Log { entries, of } => format!("entries read: {entries} of {of}"),
        CycleProgress::Download { file, bytes, of, mirror, .. } => {
            let goes_on = if step.is_start() && *bytes > 0 { "going on at " } else { "" };
            let percent = (100.0 * *bytes as f64 / (*of).max(1) as f64).floor();
            let (bytes, of) = (BinaryBytes(*bytes), BinaryBytes(*of));
            format!("{file}: {goes_on}{bytes} of {of} ({percent}%), from {mirror}")
        }
    };
    escape_line(&words)
}

fn describe_failures(step: &CycleProgress) -> String {
    match step {
        CycleProgress::Round { silent, .. } if *silent > 0 => format!(", {silent} given up"),
        _ => String::new(),
    }
}

fn escape_line(text: &str) -> String {
    unanimity_report::escape_for_terminal(text).replace('\n', "\\n")
}

/// Writes the time that a step still needs, if its rate is known.
fn write_eta(state: &ProgressState, out: &mut dyn fmt::Write) {
    if state.per_sec() >= 1.0 {
        write!(out, ", {:#} left", HumanDuration(state.eta())).ok();
    }
}

/// The bar of one step on a terminal.
struct Bar {
    bar: ProgressBar,
    /// The first message about the step.
    step: CycleProgress,
}

impl Bar {
    fn new(step: CycleProgress) -> Bar {
        let (template, at, of) = match step {
            CycleProgress::Round { peers, .. } => {
                ("asking peers [{bar:24}] {pos} of {len}{wide_msg}", 0, peers as u64)
            }
            CycleProgress::Log { entries, of } => {
                ("reading the log [{bar:24}] {human_pos} of {human_len}{left}", entries, of)
            }
            CycleProgress::Download { resumed, of, .. } => (
                "{prefix} [{bar:24}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}{left}{wide_msg}",
                resumed,
                of,
            ),
        };
        let style = ProgressStyle::with_template(template).expect("a constant template");
        let style = style.progress_chars("=> ").with_key("left", write_eta);
        let hidden = ProgressDrawTarget::hidden();
        let bar = ProgressBar::with_draw_target(Some(of), hidden).with_style(style);
        bar.set_position(at);
        if let CycleProgress::Download { file, mirror, .. } = &step {
            bar.set_prefix(escape_line(file));
            bar.set_message(escape_line(&format!(", from {mirror}")));
        }
        // Bytes that arrived before this bar must not count toward the rate.
        bar.tick();
        bar.reset_eta();
        bar.set_draw_target(ProgressDrawTarget::stderr());
        // Redraws the bar even if the step stalls.
        bar.enable_steady_tick(TICK);
        let bar = Bar { bar, step };
        bar.update(&bar.step);
        bar
    }

    /// Whether a message is about this bar's step.
    fn is_continued_by(&self, step: &CycleProgress) -> bool {
        !step.is_start()
            && match (&self.step, step) {
                (
                    CycleProgress::Download { file, mirror, resumed, .. },
                    CycleProgress::Download { file: other, mirror: host, resumed: from, .. },
                ) => (file, mirror, resumed) == (other, host, from),
                (ours, other) => discriminant(ours) == discriminant(other),
            }
    }

    fn update(&self, step: &CycleProgress) {
        let at = match *step {
            CycleProgress::Round { answered, silent, .. } => {
                self.bar.set_message(describe_failures(step));
                (answered + silent) as u64
            }
            CycleProgress::Log { entries, .. } => entries,
            CycleProgress::Download { bytes, .. } => bytes,
        };
        self.bar.set_position(at);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
