//! Ctrl-C, SIGTERM, and a terminal that is closed: the command at work is killed, and none starts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use unanimity_install::{Interrupt, ignores_hangup};
use unanimity_report::{CommandError, Exit};

/// An interrupt that every such signal raises, from now on.
pub(crate) fn interrupt_on_signals() -> Result<Interrupt, CommandError> {
    let mut kinds = vec![SIGINT, SIGTERM];
    // Whoever was started to go on without its terminal (nohup) does.
    if !ignores_hangup() {
        kinds.push(SIGHUP);
    }
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    // Where SIGCHLD is ignored, the system reaps what ends, and how it ended is lost: have a handler.
    let handled = signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)));
    let listening = handled.and_then(|_| Signals::new(kinds)).and_then(|mut signals| {
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                raised.interrupt();
            }
        })
    });
    match listening {
        Ok(_) => Ok(interrupt),
        Err(error) => Err(CommandError::new(Exit::Failed, error.to_string())),
    }
}
