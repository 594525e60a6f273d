//! The progress lines of a cycle on a terminal.

use std::time::Instant;

use unanimity::cli::progress::{LINE_INTERVAL, ProgressThrottle, describe};
use unanimity_client::CycleProgress;
use unanimity_testkit::test_world::SECOND;

fn round_progress(answered: usize, silent: usize) -> CycleProgress {
    CycleProgress::Round { peers: 5, answered, silent }
}

fn download_progress(bytes: u64, mirror: &str, resumed: u64) -> CycleProgress {
    let (file, mirror) = ("hello".to_owned(), mirror.to_owned());
    CycleProgress::Download { file, bytes, of: 300_000, mirror, resumed }
}

#[test]
fn progress_shows_each_begin_and_end_and_few_lines_between() {
    let mut pace = ProgressThrottle::new(LINE_INTERVAL);
    let began = Instant::now();
    let mut passes = |step: CycleProgress, seconds: f64| {
        pace.should_show(&step, began + SECOND.mul_f64(seconds))
    };
    assert!(passes(round_progress(0, 0), 0.0));
    assert!(!passes(round_progress(1, 0), 0.1));
    assert!(passes(round_progress(4, 1), 0.2));
    // A step that reports its end repeatedly gets one line.
    assert!(!passes(round_progress(4, 1), 0.3));
    assert!(passes(download_progress(0, "one", 0), 0.4));
    let shown =
        (1..1000).filter(|n| passes(download_progress(n * 100, "one", 0), 0.4 + *n as f64 / 100.0));
    assert_eq!(shown.count(), 1, "one in five seconds");
    assert!(passes(download_progress(99_999, "two", 99_999), 10.5));
    assert!(passes(download_progress(300_000, "two", 99_999), 10.6));
    // The first event that arrives may be in the middle of a step: the channel drops events when it
    // is full.
    assert!(passes(CycleProgress::Log { entries: 5, of: 10 }, 10.7));
}

#[test]
fn each_step_is_one_line_of_printable_ascii() {
    assert_eq!(describe(&round_progress(0, 0)), "asking peers: 5");
    assert_eq!(describe(&round_progress(3, 0)), "3 of 5 peers have answered");
    assert_eq!(describe(&round_progress(3, 2)), "3 of 5 peers have answered, 2 given up");
    assert_eq!(
        describe(&CycleProgress::Log { entries: 0, of: 7 }),
        "reading entries of the log: 7"
    );
    assert_eq!(describe(&CycleProgress::Log { entries: 3, of: 7 }), "entries read: 3 of 7");
    let first = describe(&download_progress(0, "file:/mirror", 0));
    assert_eq!(first, "hello: 0 B of 292.97 KiB (0%), from file:/mirror");
    let resumed = describe(&download_progress(180_000, "file:/mirror", 180_000));
    assert_eq!(resumed, "hello: going on at 175.78 KiB of 292.97 KiB (60%), from file:/mirror");
    for hostile in ["\u{1b}[2J", "\n", "\r", "\u{202e}", "\u{430}"] {
        let step = CycleProgress::Download {
            file: format!("a{hostile}b"),
            bytes: 1,
            of: 0,
            mirror: format!("file:/c{hostile}d"),
            resumed: 0,
        };
        let line = describe(&step);
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    }
}
