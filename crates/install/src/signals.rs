//! Signals that interrupt an installation: SIGINT, SIGTERM and SIGHUP kill the running hook, and no
//! other hook starts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use unanimity_install::{Interrupt, ignores_hangup};
use unanimity_report::{CommandError, Exit};

/// Starts a thread that raises the returned interrupt at every SIGINT, SIGTERM and SIGHUP. Under
/// `nohup`, SIGHUP stays ignored.
pub(crate) fn interrupt_on_signals() -> Result<Interrupt, CommandError> {
    let mut kinds = vec![SIGINT, SIGTERM];
    // A process under `nohup` continues without its terminal.
    if !ignores_hangup() {
        kinds.push(SIGHUP);
    }
    let interrupt = Interrupt::default();
    let raised = interrupt.clone();
    // If SIGCHLD were ignored, the system would reap children and drop their exit status.
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
