//! Ctrl-C, SIGTERM, and a terminal that is closed: the command at work is killed, and none starts.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use unanimity_install::{Interrupt, ignores_hangup};
use unanimity_report::{Ended, Exit};

/// An interrupt that every such signal raises, from now on.
pub(crate) fn interrupt_when_told_to_end() -> Result<Interrupt, Ended> {
    let mut kinds = vec![SIGINT, SIGTERM];
    // Whoever was started to go on without its terminal (nohup) does.
    if !ignores_hangup() {
        kinds.push(SIGHUP);
    }
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    let listening = Signals::new(kinds).and_then(|mut signals| {
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                raised.interrupt();
            }
        })
    });
    match listening {
        Ok(_) => Ok(interrupt),
        Err(error) => Err(Ended::new(Exit::Failed, error.to_string())),
    }
}
